import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Mistral (Jiang et al., 2023, arXiv 2310.06825) and Ministral: LLaMA with a sliding window. */
export const mistral = defineArchitecture({
  name: 'mistral',
  modelTypes: ['mistral', 'ministral'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => gatedDecoder(c, { ...llamaLike(c.config), layers: slidingLayers(c.config, () => true) }),
})

/** Ministral 3, texts (Mistral AI, 2025): queries grow with their positions' logarithm beyond the original length (Llama 4). */
export const ministral3 = defineArchitecture({
  name: 'ministral3',
  modelTypes: ['ministral3'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) =>
    gatedDecoder(c, {
      ...llamaLike(c.config),
      layers: slidingLayers(c.config, () => true),
      queryScale: (positions) => growth(c, positions),
    }),
})

/** 1 + β·ln(1 + ⌊position / length⌋) per query: [batch, 1, sequence, 1]. */
function growth({ g, config }: ArchitectureContext, positions: Value): Value {
  const rope = config.nested('rope_parameters')
  if (!rope) throw config.wrong('rope_parameters', 'an object with llama_4_scaling_beta', undefined)
  const [beta, length] = [rope.number('llama_4_scaling_beta'), rope.count('original_max_position_embeddings')]
  const rounds = g.op('Floor', [g.scale(g.cast(positions, 'float32'), 1 / length)])
  const grown = g.add(g.scale(g.op('Log', [g.add(rounds, g.scalar(1))]), beta), g.scalar(1))
  return g.unsqueeze(grown, [1, 3])
}
