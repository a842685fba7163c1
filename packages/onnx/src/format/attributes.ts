import { GraftError } from '../graph/errors.js'
import type { Attribute } from '../graph/types.js'
import { type AttributeProto, AttributeProto_AttributeType as Type } from './gen/onnx-ml_pb.js'
import { constantOf, type Locate } from './tensors.js'

type Kind = 'FLOAT' | 'INT' | 'STRING' | 'TENSOR' | 'GRAPH' | 'FLOATS' | 'INTS' | 'STRINGS'
/** What attributes of these names are in every operator that Graft reads them of (onnx/defs and ONNX Runtime's contrib operators). */
const named: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  FLOAT: ['alpha', 'beta', 'epsilon', 'gamma', 'bias', 'lambd', 'momentum', 'softcap', 'mask_filter_value', 'value_float'],
  INT: [
    'K', 'N', 'allowzero', 'axis', 'batch_dims', 'bits', 'block_size', 'causal', 'do_rotary', 'dtype', 'end', 'exclusive', 'group',
    'interleaved', 'is_causal', 'keepdims', 'kv_num_heads', 'largest', 'local_window_size', 'noop_with_empty_axes', 'num_heads',
    'num_outputs', 'q_num_heads', 'reverse', 'rotary_embedding_dim', 'rotary_interleaved', 'saturate', 'select_last_index', 'sorted',
    'stash_type', 'start', 'to', 'transA', 'transB', 'unidirectional', 'upper', 'value_int', 'ceil_mode', 'count_include_pad',
  ],
  STRING: ['auto_pad', 'approximate', 'equation', 'reduction', 'value_string', 'activation'],
  TENSOR: ['value'],
  GRAPH: ['body', 'then_branch', 'else_branch'],
  INTS: ['axes', 'perm', 'pads', 'strides', 'dilations', 'kernel_shape', 'output_padding', 'qkv_hidden_sizes', 'value_ints'],
  FLOATS: ['value_floats'],
  STRINGS: ['value_strings'],
} // biome-ignore format: a table
const kinds = new Map(Object.entries(named).flatMap(([kind, names]) => names.map((name) => [name, kind])))

/** An attribute in memory. Throws ILLEGAL_NODE for one of another type than the operator has, and what its tensor's place throws. */
export function attributeOf(a: AttributeProto, where: string, locate: Locate): Attribute {
  const [expected, got] = [kinds.get(a.name), Type[a.type]]
  if (expected && expected !== got)
    throw new GraftError(
      'ILLEGAL_NODE',
      `${where}: attribute ${a.name} is ${got ?? `of type ${a.type}`}, expected ${expected}. The model file is damaged; fetch or export it again.`,
    )
  const decode = (bytes: Uint8Array) => Buffer.from(bytes).toString()
  if (a.type === Type.FLOAT) return a.f
  if (a.type === Type.INT) return Number(a.i)
  if (a.type === Type.STRING) return decode(a.s)
  if (a.type === Type.FLOATS) return [...a.floats]
  if (a.type === Type.INTS) return a.ints.map(Number)
  if (a.type === Type.STRINGS) return a.strings.map(decode)
  if (a.type === Type.TENSOR && a.t) return { tensor: constantOf(a.t, locate) }
  return { proto: a }
}
