import { addDims, type Dim, formula } from '../graph/dim.js'
import type { Typed } from '../graph/ops/spec.js'
import { dtypeOfCode } from '../graph/types.js'
import type { ValueInfoProto } from './gen/onnx-ml_pb.js'

/** The type that a file declares for a value; undefined for what is no tensor. */
export function typeOf(info: ValueInfoProto): Typed | undefined {
  if (info.type?.value.case !== 'tensorType') return undefined
  const { elemType, shape } = info.type.value.value
  const dtype = dtypeOfCode(elemType)
  const dims = shape?.dim.map((d, i): Dim => {
    // Some tools write -1 for a size that is free.
    if (d.value.case === 'dimValue' && d.value.value >= 0n) return Number(d.value.value)
    return d.value.case === 'dimParam' && d.value.value !== ''
      ? symbol(d.value.value)
      : formula(`${info.name}.${i}`)
  })
  return dtype && { dtype, shape: dims ?? null }
}
/** A name, a sum of names and numbers ("past_sequence + sequence"), or a text of its own. */
function symbol(name: string): Dim {
  const terms = name.split('+').map((t) => t.trim())
  if (!terms.every((t) => /^[\w.]+$/.test(t))) return formula(name)
  return terms.map((t): Dim => (/^\d+$/.test(t) ? Number(t) : t)).reduce(addDims)
}
