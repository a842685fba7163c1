import type { Settings } from '@graft-peft/core'

/** What every layer of a transformer has, by the names that most config.json files use. */
export interface LayerSizes {
  width: number
  heads: number
  layers: number
  inner: number
}
export const layerSizes = (config: Settings): LayerSizes => ({
  width: config.count('hidden_size'),
  heads: config.count('num_attention_heads'),
  layers: config.count('num_hidden_layers'),
  inner: config.count('intermediate_size'),
})
