import { GraftError } from './errors.js'
import type { Dim, Shape } from './dim.js'

/** Element types by ONNX's numbers (TensorProto.DataType) and bytes per element (0: packed or variable). */
export const dtypes = {
  float32: { code: 1, bytes: 4 },
  uint8: { code: 2, bytes: 1 },
  int8: { code: 3, bytes: 1 },
  uint16: { code: 4, bytes: 2 },
  int16: { code: 5, bytes: 2 },
  int32: { code: 6, bytes: 4 },
  int64: { code: 7, bytes: 8 },
  string: { code: 8, bytes: 0 },
  bool: { code: 9, bytes: 1 },
  float16: { code: 10, bytes: 2 },
  float64: { code: 11, bytes: 8 },
  uint32: { code: 12, bytes: 4 },
  uint64: { code: 13, bytes: 8 },
  bfloat16: { code: 16, bytes: 2 },
  uint4: { code: 21, bytes: 0.5 },
  int4: { code: 22, bytes: 0.5 },
} as const
export type DType = keyof typeof dtypes

const byCode = new Map(Object.entries(dtypes).map(([name, { code }]) => [code as number, name as DType]))
export const dtypeOfCode = (code: number): DType | undefined => byCode.get(code)

const floats: ReadonlySet<DType> = new Set(['float32', 'float64', 'float16', 'bfloat16'])
export const isFloat = (dtype: DType): boolean => floats.has(dtype)

/** Bytes of a constant: in memory, or where they lie in a file (never read until someone needs them). `make` writes a file that isn't there yet. */
export type TensorData =
  | { bytes: Uint8Array }
  | { file: string; offset: number; length: number; make?: () => void }

/** Small constant or shape-like contents, known at compile time; integers may be symbolic. */
export type Known = readonly (Dim | boolean)[]

/** A typed tensor in a graph. `shape` is null where an unknown operator made it. */
export interface Value {
  name: string
  dtype: DType
  shape: Shape | null
  producer?: Node
  readonly users: Set<Node>
  data?: TensorData
  known?: Known
}

export type Attribute =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | { tensor: Constant }
  | { proto: unknown }
export interface Constant {
  dtype: DType
  shape: readonly number[]
  data: TensorData
}

/** One operator. `scope` is the module path it came from; `captures` are outer values its subgraphs read. */
export interface Node {
  readonly op: string
  readonly name: string
  inputs: (Value | null)[]
  outputs: (Value | null)[]
  attributes: Record<string, Attribute>
  scope: string
  captures?: Value[]
}

export const intAttribute = (node: Pick<Node, 'attributes'>, name: string, otherwise: number): number =>
  (node.attributes[name] as number | undefined) ?? otherwise
export const intsAttribute = (node: Pick<Node, 'attributes'>, name: string): readonly number[] | undefined =>
  node.attributes[name] as readonly number[] | undefined

/** Output i of a node. Throws ILLEGAL_NODE where the node leaves it out. */
export function outputOf(node: Named & Pick<Node, 'outputs'>, i = 0): Value {
  return present(node, node.outputs[i], `output ${i}`)
}
/** Input i of a node. Throws ILLEGAL_NODE where the node leaves it out. */
export function inputOf(node: Named & Pick<Node, 'inputs'>, i = 0): Value {
  return present(node, node.inputs[i], `input ${i}`)
}
type Named = Pick<Node, 'op'> & { readonly name?: string }
function present({ op, name = 'a node' }: Named, value: Value | null | undefined, what: string): Value {
  if (value) return value
  throw new GraftError('ILLEGAL_NODE', `${op} at ${name}: ${what} is missing.`)
}
