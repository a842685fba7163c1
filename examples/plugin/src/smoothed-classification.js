import { defineObjective, sequenceClassification } from '@graft-peft/core'

const smoothing = 0.1

/** Sequence classification with a tenth of each target spread over all classes (Szegedy et al., 2015, arXiv 1512.00567). */
export default defineObjective({
  ...sequenceClassification,
  name: 'smoothed-classification',
  build(context) {
    const { g } = context
    const built = sequenceClassification.build(context)
    const logP = g.op('LogSoftmax', [built.logits], { axis: -1 })
    const spread = g.neg(g.sumAll(g.reduceMean(logP, [-1])))
    return { ...built, lossSum: g.add(g.scale(built.lossSum, 1 - smoothing), g.scale(spread, smoothing)) }
  },
})
