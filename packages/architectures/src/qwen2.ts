import { defineArchitecture, type Settings } from '@graft-peft/core'
import { gatedDecoder, type LayerKind, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'

/** Qwen 2 and 2.5 (Yang et al., 2024, arXiv 2407.10671): LLaMA with biases on query, key and value. */
export const qwen2 = defineArchitecture({
  name: 'qwen2',
  modelTypes: ['qwen2'],
  tasks: decoderTasks,
  prefix: 'model',
  build: (c) => gatedDecoder(c, { ...llamaLike(c.config), qkvBias: true, layers: windowAfter(c.config) }),
})

/** Layers from max_window_layers on look through the window, where there is one. */
export function windowAfter(config: Settings): LayerKind[] {
  const windows = config.flag('use_sliding_window', false)
  const first = config.whole('max_window_layers', 28)
  return slidingLayers(config, (i) => windows && i >= first).map((kind) => (windows ? kind : {}))
}
