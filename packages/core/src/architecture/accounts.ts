import { GraftError, nearest } from '../errors.js'
import type { Architecture, Task } from './architecture.js'
import type { TensorSource } from './checkpoint.js'
import type { Settings } from './settings.js'
import type { Weights } from './weights.js'

/** Throws UNHEEDED_KEY where config.json says something that nothing has read: the model would be another than it says. */
export function requireHeeded(config: Settings, { name, ignores }: Architecture): void {
  const all = config.unheeded(ignores)
  if (all.length === 0) return
  const shown = all.slice(0, 5).map(({ key, value, harmless }) => {
    const close = nearest(key, config.known)
    const why =
      harmless !== undefined ? ` (only ${JSON.stringify(harmless)} is understood)`
      : close ? ` (did you mean ${close}?)`
      : '' // biome-ignore format: a table
    return `${key}: ${JSON.stringify(value).slice(0, 80)}${why}`
  })
  const more = all.length > shown.length ? `, and ${all.length - shown.length} more` : ''
  throw new GraftError(
    'UNHEEDED_KEY',
    `${config.file}: the ${name} architecture doesn't read ${shown.join(', ')}${more}. If a key changes what the model computes, its graph would be wrong: ` +
      'bring an architecture that heeds it (docs/write-an-architecture.md), or give the model as an .onnx file. If it changes nothing, take it out of config.json.',
  )
}

/** Buffers that transformers' models compute anew. */
const buffers = /(rotary_emb|rotary_pos_emb|rope)\.(\w+_)?inv_freq$|(^|\.)position_ids$|num_batches_tracked$/

/**
 * Tensors of a checkpoint that the graph doesn't read: heads for other tasks and buffers are counted and named; any other means that
 * config.json describes another model. Throws UNREAD_TENSORS.
 */
export function unreadTensors(
  { unread }: Weights,
  source: TensorSource,
  { name, prefix, unused }: Architecture,
  task: Task,
): string[] {
  const within = source.names.some((n) => prefix !== '' && n.startsWith(`${prefix}.`))
  const outside = (tensor: string) => within && !tensor.startsWith(`${prefix}.`)
  // Parameters are floating-point; whole and complex numbers are buffers.
  const whole = (tensor: string) => /^(I|U|BOOL|C)/.test(source.find(tensor)?.dtype ?? '')
  const known = (tensor: string) =>
    buffers.test(tensor) || outside(tensor) || whole(tensor) || unused?.(tensor, task)
  const strange = unread.filter((tensor) => !known(tensor))
  if (strange.length > 0)
    throw new GraftError(
      'UNREAD_TENSORS',
      `${source.file}: ${kinds(strange)} ${strange.length === 1 ? 'has' : 'have'} no place in the ${name} model that config.json describes. Config and weights belong to different models, or this is a variant that isn't known here.`,
    )
  return unread.length === 0 ? [] : [`Not read from ${source.file} for ${task}: ${kinds(unread)}.`]
}

/** New heads, said to be; not those that an adapter's tensors take the place of. */
export function newHeads({ created }: Weights, brought: readonly string[]): string[] {
  const isBrought = (name: string) => brought.some((tensor) => `.${tensor}`.endsWith(`.${name}`))
  const heads = created.filter(({ name }) => !isBrought(name)).map(({ name, says }) => `${name} ${says}`)
  return heads.length === 0 ? [] : [`New, not from the checkpoint, drawn by the seed: ${heads.join(', ')}.`]
}

/** Tensors by kind, those of all layers as one: "model.layers.N.self_attn.rotary_emb.inv_freq (32)". */
function kinds(tensors: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const tensor of tensors) {
    const kind = tensor.replace(/\.\d+(?=\.)/g, '.N')
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  const all = [...counts].map(([kind, n]) => (n === 1 ? kind : `${kind} (${n})`))
  return all.length > 8 ? `${all.slice(0, 8).join(', ')} and ${all.length - 8} more kinds` : all.join(', ')
}
