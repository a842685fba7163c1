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

/** Patches [batch, width, rows, columns] as a sequence behind a class token [1, 1, width]: [batch, 1 + patches, width]. */
export function withClassToken(g: Builder, patches: Value, token: Value): Value {
  const [batch, width, rows, columns] = shapeOf(patches)
  const sequence = g.transpose(
    g.op('Reshape', [patches, g.ints([0, 0, Number(rows) * Number(columns)])]),
    [0, 2, 1],
  )
  return g.concat([g.expand(token, [batch, 1, width]), sequence], 1)
}
