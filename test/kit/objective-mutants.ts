import { causalLm, defineObjective, int64, type Objective, sequenceClassification } from '@graft-peft/core'
import type { ObjectiveCases } from '@graft-peft/method-tester'
import { classes, labelled, texts, written } from './records.js'

type Built = ReturnType<Objective['build']>
type Context = Parameters<Objective['build']>[0]
const language = (changes: Partial<Objective>): Objective =>
  defineObjective({ ...causalLm, name: 'own', ...changes })
const classes3 = (changes: Partial<Objective>): Objective =>
  defineObjective({ ...sequenceClassification, name: 'own', ...changes })
const built = (from: Objective, change: (built: Built, context: Context) => Partial<Built>) => ({
  build: (context: Context) => {
    const own = from.build(context)
    return { ...own, ...change(own, context) }
  },
})
/** The loss of a class without the gradient that comes with it, for mutants of what goes into it. */
const plainLoss = (
  logits: (context: Context) => Built['lossSum'],
  spoil: (context: Context, picked: Built['lossSum']) => Partial<Built> = () => ({}),
) =>
  built(sequenceClassification, (own, context) => {
    const { g } = context
    const logP = g.op('LogSoftmax', [logits(context) ?? own.logits], { axis: -1 })
    const targets = g.graph.inputs.find((v) => v.name === 'targets')!
    const picked = g.op('GatherElements', [logP, g.unsqueeze(targets, [-1])], { axis: -1 })
    return { lossSum: g.neg(g.sumAll(picked)), partials: new Map(), ...spoil(context, picked) }
  })
const own = (context: Context) => context.model.logits
const on = { records: labelled, model: 'encoder' } as const

/** A planted fault, and what the kit must say of it. */
export interface Mutant {
  kind: string
  what: string
  objective: Objective
  on: ObjectiveCases
  check: string
  caught: RegExp
}
/** Faults in targets, sums, gradients, numbers and records. */
export const mutants: readonly Mutant[] = [
  {
    kind: 'targets',
    what: 'takes every answer for the first',
    check: 'other answers',
    on,
    objective: classes3({
      supervise: (b, c) => ({
        ...sequenceClassification.supervise(b, c),
        feeds: { ...sequenceClassification.supervise(b, c).feeds, targets: int64(b.examples.map(() => 0)) },
      }),
    }),
    caught: /whatever the answers are/,
  },
  {
    kind: 'targets',
    what: 'predicts what it is told',
    check: 'other answers',
    on,
    objective: classes3(
      built(sequenceClassification, (_, { g }) => ({
        predictions: g.op('Identity', [g.graph.inputs.find((v) => v.name === 'targets')!]),
      })),
    ),
    caught: /predictions change with the answers/,
  },
  {
    kind: 'targets',
    what: 'gives targets in another order than predictions',
    check: 'training lowers',
    on,
    objective: classes3({
      supervise: (b, c) => {
        const s = sequenceClassification.supervise(b, c)
        return { ...s, targets: [...s.targets.slice(1), s.targets[0]] }
      },
    }),
    caught: /order of the predictions/,
  },
  {
    kind: 'targets',
    what: 'does not shift its labels',
    check: 'no prediction knows',
    on: { records: written },
    objective: language({
      supervise: ({ examples, length }, chunks) => {
        const at = examples.flatMap(({ tokenLabels = [] }, b) =>
          tokenLabels.flatMap((l, s) => (l === -100 ? [] : [[b * length + s, l]])),
        )
        return {
          ...causalLm.supervise({ examples, length, decoderLength: 2 }, chunks),
          feeds: {
            rows: int64(at.map(([r]) => r)),
            targets: int64(at.map(([, t]) => t)),
            bounds: int64([0, at.length]),
          },
          count: at.length,
          targets: at.map(([, t]) => t),
        }
      },
    }),
    caught: /labels are shifted by one/,
  },
  {
    kind: 'sums',
    what: 'gives the mean instead of the sum',
    check: 'the loss is a sum',
    on,
    objective: classes3(
      plainLoss(own, ({ g }, p) => ({ lossSum: g.neg(g.squeeze(g.reduceMean(p, [0, 1]), [0, 1])) })),
    ),
    caught: /must be the sum over supervised rows/,
  },
  {
    kind: 'sums',
    what: 'counts examples instead of rows',
    check: 'the loss is a sum',
    on: { records: written },
    objective: language({ supervise: (b, c) => ({ ...causalLm.supervise(b, c), count: b.examples.length }) }),
    caught: /counts 3 .*rows and gives \d+ targets/,
  },
  {
    kind: 'sums',
    what: 'normalises over the batch',
    check: 'the loss is a sum',
    on,
    objective: classes3(plainLoss(({ g, model }) => g.sub(model.logits, g.reduceMean(model.logits, [0])))),
    caught: /read nothing of other rows/,
  },
  {
    kind: 'sums',
    what: 'takes the last position of the batch for the last token',
    check: 'the loss is a sum',
    on: { records: labelled },
    objective: classes3({
      supervise: (b, c) => {
        const s = sequenceClassification.supervise(b, c)
        return { ...s, feeds: { ...s.feeds, rows: int64(b.examples.map((_, i) => (i + 1) * b.length - 1)) } }
      },
    }),
    caught: /last token by its own length|one by one/,
  },
  {
    kind: 'sums',
    what: 'knows the number of rows',
    check: 'the loss is a sum',
    on,
    objective: classes3(plainLoss(({ g, model }) => g.reshape(model.logits, [3, 3]))),
    caught: /./,
  },
  {
    kind: 'sums',
    what: 'gives a loss per row',
    check: 'the loss is a sum',
    on,
    objective: classes3(plainLoss(own, ({ g }, p) => ({ lossSum: g.neg(p) }))),
    caught: /lossSum is \[.*\]; expected a scalar/,
  },
  {
    kind: 'sums',
    what: 'predicts logits instead of classes',
    check: 'the loss is a sum',
    on,
    objective: classes3(built(sequenceClassification, (b) => ({ predictions: b.logits! }))),
    caught: /predictions is \[.*\]; expected one per/,
  },
  {
    kind: 'gradients',
    what: 'keeps the slope of another loss',
    check: 'gradients',
    on,
    objective: classes3(
      built(sequenceClassification, (b, { g }) => {
        const lossSum = g.scale(b.lossSum, 2)
        return { lossSum, partials: new Map([[lossSum, b.partials.get(b.lossSum)!]]) }
      }),
    ),
    caught: /∂loss\/∂/,
  },
  {
    kind: 'gradients',
    what: 'cuts the gradient',
    check: 'gradients',
    on,
    objective: classes3(plainLoss(({ g, model }) => g.stopGradient(model.logits))),
    caught: /∂loss\/∂/,
  },
  {
    kind: 'gradients',
    what: 'has a head that never learns',
    check: 'training lowers',
    on: { records: labelled },
    objective: classes3(
      built(sequenceClassification, (b, { g }) => ({ lossSum: g.scale(b.lossSum, -1), partials: new Map() })),
    ),
    caught: /loss didn't fall|agree with the targets no better/,
  },
  {
    kind: 'numbers',
    what: 'takes the logarithm of a softmax',
    check: 'confident logits',
    on: { records: labelled },
    objective: classes3(
      built(sequenceClassification, (b, { g }) => {
        const p = g.op(
          'GatherElements',
          [
            g.op('Softmax', [b.logits!], { axis: -1 }),
            g.unsqueeze(g.graph.inputs.find((v) => v.name === 'targets')!, [-1]),
          ],
          { axis: -1 },
        )
        return { lossSum: g.neg(g.sumAll(g.log(p))), partials: new Map() }
      }),
    ),
    caught: /LogSoftmax/,
  },
  {
    kind: 'numbers',
    what: 'draws its head from Math.random',
    check: 'what is exported',
    on: { records: labelled },
    objective: classes3({
      deploy: (context) => context.g.scale(sequenceClassification.deploy!(context), 1 + Math.random()),
    }),
    caught: /deploy gives other logits/,
  },
  {
    kind: 'records',
    what: 'reads fields without asking whether they are there',
    check: 'records become',
    on,
    objective: classes3({
      encode: ({ fields }, coder) => ({
        ids: coder.tokenizer.encode((fields.text as string).trim()),
        label: coder.labels.indexOf(fields.label as string),
      }),
    }),
    caught: /a record without text|read properties of undefined/,
  },
  {
    kind: 'records',
    what: 'needs the answer to predict',
    check: 'records become',
    on,
    objective: classes3({ input: (record, coder) => sequenceClassification.encode(record, coder) }),
    caught: /input needs label, the answer/,
  },
  {
    kind: 'records',
    what: 'names a metric that is not there',
    check: 'records become',
    on,
    objective: classes3({ metrics: ['accurracy'] }),
    caught: /metrics names accurracy/,
  },
  {
    kind: 'records',
    what: 'reads a field that it does not declare',
    check: 'records become',
    on,
    objective: classes3({ fields: ['text'] }),
    caught: /reads the field label/,
  },
  {
    kind: 'records',
    what: 'gives a class that is no number',
    check: 'records become',
    on: { records: texts.map((text) => ({ text, label: classes[0] })) },
    objective: classes3({
      encode: (record, coder) => ({ ...coder.input(record), label: Number(record.fields.label) }),
    }),
    caught: /with the label NaN/,
  },
]
