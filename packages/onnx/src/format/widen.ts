import { GraftError } from '../graph/errors.js'
import { type DType, dtypes } from '../graph/types.js'
import type { GraphProto } from './gen/onnx-ml_pb.js'
import type { RawNode } from './opset.js'
import { floatValues } from './tensors.js'

/** Constants up to this many bytes are read: shapes, axes, scales. */
export const smallConstant = 1024
export const isHalf = (dtype: DType): boolean => dtype === 'float16' || dtype === 'bfloat16'
/** Graphs in half precision are computed in float32; weights stay as they lie, and are cast where they are used. */
export const widened = (dtype: DType): DType => (isHalf(dtype) ? 'float32' : dtype)
const halves: ReadonlySet<unknown> = new Set([dtypes.float16.code, dtypes.bfloat16.code])
/** The same for what a node says itself. Throws UNSUPPORTED_OPERATOR for a subgraph that would be left in half precision. */
export function widen(raw: RawNode, where: string): void {
  const { attributes } = raw
  for (const key of ['to', 'dtype', 'output_dtype'])
    if (halves.has(attributes[key])) attributes[key] = dtypes.float32.code
  const { value } = attributes
  if (typeof value === 'object' && 'tensor' in value && isHalf(value.tensor.dtype)) {
    const floats = floatValues(value.tensor) as Float32Array
    const data = { bytes: new Uint8Array(floats.buffer) }
    attributes.value = { tensor: { ...value.tensor, dtype: 'float32', data } }
  }
  const graphs = Object.values(attributes).flatMap((a) =>
    typeof a === 'object' && 'proto' in a ? [a.proto as { g?: GraphProto }] : [],
  )
  if (graphs.some(({ g }) => g && hasHalves(g)))
    throw new GraftError(
      'UNSUPPORTED_OPERATOR',
      `${where}: a branch or loop in half precision, which Graft can't compute in float32. Use the float32 export of this model.`,
    )
}
const hasHalves = (graph: GraphProto): boolean =>
  graph.initializer.some((t) => halves.has(t.dataType)) ||
  graph.node.some((n) =>
    n.attribute.some(
      (a) =>
        (a.t && halves.has(a.t.dataType)) ||
        (a.g && hasHalves(a.g)) ||
        (a.name === 'to' && halves.has(Number(a.i))),
    ),
  )
