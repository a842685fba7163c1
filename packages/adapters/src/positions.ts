import { type Model, shapeOf, type Value } from '@graft-peft/core'

/**
 * Each token's place in its text, counted from 1 at its first token and at its last, [batch, sequence]; 0 at padding. Texts packed into
 * one row, which the mask numbers, are counted apart.
 */
export function placesIn({ g, graph }: Model, hidden: Value): { front: Value; back: Value } {
  const [batch, sequence] = shapeOf(hidden)
  const masks = graph.inputs.filter((v) => /attention_mask$/.test(v.name))
  const mask = masks.find((v) => `${v.shape}` === `${[batch, sequence]}`)
  const text = mask ?? g.expand(g.int(1), [batch, sequence])
  const place = g.range(g.squeeze(g.dim(sequence), [0]))
  const [row, column] = [g.unsqueeze(place, [1]), g.unsqueeze(place, [0])]
  const same = g.equal(g.unsqueeze(text, [2]), g.unsqueeze(text, [1]))
  const real = g.cast(g.greater(text, g.int(0)), 'int64')
  const counted = (side: Value) => {
    const among = g.cast(g.op('And', [same, side]), 'float32')
    return g.mul(g.cast(g.reduceSum(among, [2], false), 'int64'), real)
  }
  return { front: counted(g.lessOrEqual(column, row)), back: counted(g.lessOrEqual(row, column)) }
}
