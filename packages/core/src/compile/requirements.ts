import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'

/** Training feeds batches of changing size; a graph traced with fixed sizes can't take them. */
/** Operators of models that compute in whole numbers, from ONNX and ONNX Runtime's quantisers. */
const wholeNumbers =
  /^(MatMulInteger|ConvInteger|QLinear\w+|DynamicQuantizeLinear|QuantizeLinear|com\.microsoft::(Q[A-Z]\w*|DynamicQuantize\w+|MatMulIntegerToFloat|QuantizeLinear))$/

/** Rounding to whole numbers has no gradient. Throws QUANTISED_MODEL. */
export function requireFloats({ graph, file }: Model): void {
  const found = [...graph.nodes].filter(({ op }) => wholeNumbers.test(op))
  if (found.length === 0) return
  const ops = [...new Set(found.map(({ op }) => op.replace('com.microsoft::', '')))]
  throw new GraftError(
    'QUANTISED_MODEL',
    `${file}: the model is quantised to 8 bits and computes in whole numbers (${ops.join(', ')}; ${found.length} nodes), which no gradient goes through. Train on its float export (model.onnx, model_fp16.onnx) and quantise the merged model; to save memory use quantize: int4.`,
  )
}

export function requireDynamicShapes(model: Model): void {
  for (const { name, shape } of model.graph.inputs) {
    if (name.startsWith('past_key_values.')) continue
    const free = name === 'pixel_values' ? 1 : 2
    const fixed = shape?.slice(0, free).filter((d) => typeof d === 'number') ?? []
    if (fixed.length > 0)
      throw new GraftError(
        'STATIC_SHAPES',
        `${model.file}: input ${name} has the fixed shape [${shape?.join(', ')}], so it takes only that batch. Export again with dynamic batch${free > 1 ? ' and sequence' : ''} (dynamic_shapes, or dynamic_axes with the older exporter).`,
      )
  }
}
