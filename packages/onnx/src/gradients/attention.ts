import type { GradientRule, GradientTable } from './rule.js'

/** A rotation's transpose is the rotation back: the same operator with the sine's sign changed. */
const rotaryEmbedding: GradientRule = ({ x: [, positions, cos, sin], node, dy, g }) => [
  () => g.op('com.microsoft::RotaryEmbedding', [dy, positions, cos, g.neg(sin)], node.attributes),
  null,
  null,
  null,
]

export const attention: GradientTable = { 'com.microsoft::RotaryEmbedding': rotaryEmbedding }
