import type { Builder, Value } from '@graft-peft/core'
import type { TextInputs } from './inputs.js'

/** torch.finfo(float32).min, what transformers adds to scores that don't count. */
const never = -3.4028234663852886e38

export interface Sight {
  /** later tokens are hidden */
  causal: boolean
  /** greatest distance back that is seen, exclusive for causal attention, inclusive both ways otherwise; all when left out */
  window?: number
}

/** What is added to attention scores [batch, heads, sequence, total]: [batch, 1, sequence, total], zero where a token is seen. */
export function attentionBias(
  g: Builder,
  { mask, sequence, total }: TextInputs,
  { causal, window }: Sight,
): Value {
  const scalar = (v: Value) => g.squeeze(v, [0])
  const keys = g.range(scalar(total))
  const queries = g.unsqueeze(g.add(g.range(scalar(sequence)), g.sub(total, sequence)), [1])
  const own = g.op('Slice', [mask, g.sub(total, sequence), total, g.ints([1])])
  const seen = [sameText(g, own, mask)]
  if (causal) seen.push(g.op('GreaterOrEqual', [queries, keys]))
  if (causal && window !== undefined) seen.push(g.less(g.sub(queries, keys), g.int(window)))
  if (!causal && window !== undefined) seen.push(g.lessOrEqual(g.abs(g.sub(queries, keys)), g.int(window)))
  const all = seen.reduce((a, b) => g.op('And', [a, b]))
  return g.where(all, g.scalar(0), g.scalar(never))
}

/** [batch, 1, sequence, total]: whether a key is a real token of the query's own text. Padding sees every real token, as in transformers. */
function sameText(g: Builder, own: Value, mask: Value): Value {
  const [query, key] = [g.unsqueeze(own, [1, 3]), g.unsqueeze(mask, [1, 2])]
  const [real, nobody] = [g.greater(key, g.int(0)), g.equal(query, g.int(0))]
  return g.op('And', [real, g.op('Or', [nobody, g.equal(query, key)])])
}

/** [batch, 1, 1, length] for keys that every query sees but for padding: an encoder read by a decoder. */
export function paddingBias(g: Builder, mask: Value): Value {
  return g.where(g.greater(g.unsqueeze(mask, [1, 2]), g.int(0)), g.scalar(0), g.scalar(never))
}
