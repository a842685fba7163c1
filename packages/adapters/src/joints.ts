import { GraftError, is, type LinearSite, type Model, type NormSite, type Value } from '@graft-peft/core'

type Node = NonNullable<Value['producer']>

/** Which part of a layer ends there: its attention, its attention to an encoder's states, its feed-forward network. */
export type Part = 'attention' | 'cross' | 'output'

/** Where a part of a layer joins the stream of hidden states again: the sum of what it gives and what it was given. */
export interface Joint {
  /** of the linear layer that the part ends with */
  path: string
  /** the path of the layer: model.layers.3 */
  prefix: string
  /** from 0, an encoder's before a decoder's */
  layer: number
  part: Part
  sum: Node
  /** which operand of the sum is the part's */
  index: 0 | 1
  /** what normalises the sum before anything else reads it, as BERT does */
  norm?: NormSite
  /** whether the other operand is another part's, not the stream: the layer's parts stand side by side */
  beside: boolean
}

/**
 * Every joint of the model, in its order, found by the shape of its graph.
 *
 * @throws TARGET_NOT_FOUND where there are none.
 */
export function joints(model: Model): Joint[] {
  const layers: string[] = []
  const found = model.linears.flatMap((site): Omit<Joint, 'beside'>[] => {
    const prefix = site.path.match(/^(.*?\.\d+)\./)?.[1]
    const met = prefix === undefined ? undefined : sumAfter(model, site)
    if (prefix === undefined || !met) return []
    if (!layers.includes(prefix)) layers.push(prefix)
    const norm = normAfter(model, met.sum, prefix)
    return [{ path: site.path, prefix, layer: layers.indexOf(prefix), part: partOf(site.path), norm, ...met }]
  })
  if (found.length === 0)
    throw new GraftError(
      'TARGET_NOT_FOUND',
      `${model.file}: no layer was found that adds what a linear layer gives to what it was given.`,
    )
  return found.map((j) => ({ ...j, beside: found.some((k) => k.sum === j.sum && k.index !== j.index) }))
}

/** The value of a layer's hidden states, once its last part has joined them. */
export function layerOutput({ norm, sum }: Joint): Value {
  if (norm) return norm.node.outputs[0] as Value
  const after = onlyUser(sum.outputs[0] as Value)
  return after && isSum(after) ? layerOutput({ sum: after } as Joint) : (sum.outputs[0] as Value)
}

const onlyUser = ({ users }: Value): Node | undefined => (users.size === 1 ? [...users][0] : undefined)
const isSum = ({ op, inputs }: Node): boolean =>
  op === 'Add' && inputs.every((v) => v && !v.data && v.shape?.length === 3)
/** The sum that a layer's output reaches with nothing but a norm or another shape between them. */
function sumAfter({ norms }: Model, { output }: LinearSite): { sum: Node; index: 0 | 1 } | undefined {
  for (let value = output.value; ; ) {
    const user = onlyUser(value)
    if (!user) return undefined
    if (isSum(user)) return { sum: user, index: user.inputs[0] === value ? 0 : 1 }
    const passed = is(user.op, 'view', 'widening') || norms.some(({ node }) => node === user)
    if (!passed || user.inputs[0] !== value) return undefined
    value = user.outputs[0] as Value
  }
}

/** The layer's own norm, where it alone reads the sum; one behind all layers is not the layer's. */
function normAfter({ norms }: Model, sum: Node, prefix: string): NormSite | undefined {
  const user = onlyUser(sum.outputs[0] as Value)
  return norms.find((norm) => norm.node === user && norm.path.startsWith(`${prefix}.`))
}

function partOf(path: string): Part {
  if (/cross|encoder_?att|EncDec/i.test(path)) return 'cross'
  return /att/i.test(path) ? 'attention' : 'output'
}
