import { shapeOf, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { int64 } from '../runtime/tensor.js'
import { type Example } from '../data/example.js'
import { defineObjective, type ObjectiveContext } from './objective.js'
import { pooled, poolingOf } from './pooling.js'
import { wholeLoss } from './row-head.js'

/** Cosines are multiplied by this before the softmax (sentence-transformers' default scale). */
const sharpness = 20

/** One vector of length 1 per text or image: [rows, width]. */
function embeddings(context: ObjectiveContext): Value {
  const { g, model } = context
  const isImage = model.graph.inputs.some((v) => v.name === 'pixel_values')
  const rows = isImage ? ofImages(context) : ofTexts(context)
  return g.div(rows, g.sqrt(g.reduceSum(g.square(rows), [1])))
}
/** What the model's own pooler makes of an image, else the hidden state of its class token. */
function ofImages({ model, g }: ObjectiveContext): Value {
  const own = model.graph.outputs.find((v) => v.name === 'pooled')
  return own ?? g.squeeze(g.slice(model.logits, 0, 1, 1), [1])
}
/** Each text's vector as the model's folder asks for it, else the mean over real tokens. */
function ofTexts({ model, g }: ObjectiveContext): Value {
  const hidden = model.logits
  if (shapeOf(hidden).length !== 3 || model.head)
    throw new GraftError(
      'WRONG_OBJECTIVE',
      `${model.file}: sentence-embedding needs hidden states [batch, sequence, width]. Give a Hugging Face folder, or export the bare model (AutoModel).`,
    )
  return pooled(g, poolingOf(model.folder), hidden, model.input('attention_mask'))
}

/**
 * Texts that belong together lie close: each anchor must find its own positive among all positives and negatives of the batch
 * (multiple negatives ranking; Henderson et al., 2017, arXiv 1705.00652).
 */
export const sentenceEmbedding = defineObjective({
  name: 'sentence-embedding',
  taskType: 'FEATURE_EXTRACTION',
  task: 'features',
  answers: 'vector',
  savedModules: [],
  classifies: false,
  fields: ['anchor', 'positive', 'negative', 'text'],
  metrics: ['accuracy'],
  encode: (record, coder) => coder.related(record),
  input: (record, coder) => coder.input(record),
  /** anchors first, then all positives, then what negatives there are */
  rows: (examples) => {
    const others = (k: number): Example[] =>
      examples.flatMap((e) => (e.others?.[k] ? [{ ids: e.others[k] }] : []))
    return [...examples.map(({ ids }) => ({ ids })), ...others(0), ...others(1)]
  },
  build(context) {
    const { g } = context
    const all = embeddings(context)
    const anchors = g.graph.addInput('rows', 'int64', ['supervised'])
    const candidates = g.graph.addInput('candidates', 'int64', ['candidates'])
    const cosines = g.linear(g.gather(all, anchors), g.gather(all, candidates))
    return {
      ...wholeLoss(g, g.scale(cosines, sharpness), g.graph.addInput('targets', 'int64', ['supervised'])),
      embeddings: all,
    }
  },
  deploy: embeddings,
  supervise({ examples: rows, sources = rows.length }) {
    const targets = Array.from({ length: sources }, (_, i) => i)
    // A batch without answers has anchors alone, and each is its own candidate.
    const candidates = rows.length > sources ? rows.slice(sources).map((_, i) => sources + i) : targets
    return {
      feeds: { rows: int64(targets), candidates: int64(candidates), targets: int64(targets) },
      count: sources,
      targets,
    }
  },
})
