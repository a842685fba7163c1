import { type ArchitectureContext, type Builder, type Settings, shapeOf, type Value } from '@graft-peft/core'

export interface ImageInput {
  /** [batch, channels, size, size], normalised */
  pixels: Value
  channels: number
  /** pixels along a patch's edge */
  patch: number
  /** patches in an image */
  count: number
}

/** Throws BAD_MODEL_CONFIG where patches don't fit the image. */
export function imageInput({ g }: ArchitectureContext, config: Settings): ImageInput {
  const [size, patch, channels] = [
    config.count('image_size', 224),
    config.count('patch_size', 16),
    config.count('num_channels', 3),
  ]
  if (size < patch) throw config.wrong('patch_size', `at most image_size, ${size}`, patch)
  return {
    pixels: g.graph.addInput('pixel_values', 'float32', ['batch', channels, size, size]),
    channels,
    patch,
    count: Math.floor(size / patch) ** 2,
  }
}

/** Patches [batch, width, rows, columns] as a sequence: [batch, patches, width]. */
export function inSequence(g: Builder, patches: Value): Value {
  const [, , rows, columns] = shapeOf(patches)
  return g.transpose(g.op('Reshape', [patches, g.ints([0, 0, Number(rows) * Number(columns)])]), [0, 2, 1])
}
/** The sequence of patches behind tokens [1, n, width] of their own: [batch, Σn + patches, width]. */
export function withTokens(g: Builder, patches: Value, tokens: readonly Value[]): Value {
  const [batch, width] = shapeOf(patches)
  const own = tokens.map((token) => g.expand(token, [batch, shapeOf(token)[1], width]))
  return g.concat([...own, inSequence(g, patches)], 1)
}

/** Keys that say which parts a backbone gives to other models: they change nothing here. */
export const backboneKeys = [
  'stage_names',
  'out_features',
  'out_indices',
  '_out_features',
  '_out_indices',
  'reshape_hidden_states',
] as const
