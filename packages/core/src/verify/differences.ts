import { greatestDifference } from '../numbers/differences.js'
import { withoutCopies } from '../adapter/files.js'
import { fileKey, moduleKey } from '../method/keys.js'
import { floatsOf, readSafetensors, type StoredTensor } from '../files/safetensors.js'
import { GraftError } from '../errors.js'
import type { Variable, Variables } from '../method/variables.js'

/**
 * Reads the trainable tensors, which torch names by module: with or without the wrapper's prefix, some with
 * ".weight" at the end.
 */
export function trainedFrom(path: string, variables: Variables): Float32Array {
  const { tensors } = readSafetensors(path)
  const flat = new Float32Array(variables.total)
  const used = new Set<string>()
  for (const variable of variables.list) {
    const key = torchName(variable, tensors)
    const found = key === undefined ? undefined : tensors.get(key)
    if (!key || !found)
      throw new GraftError(
        'ADAPTER_MISMATCH',
        `${path}: no tensor for ${variable.name}. It holds ${[...tensors.keys()].slice(0, 8).join(', ')}.`,
      )
    if (`${found.shape}` !== `${variable.shape}`)
      throw new GraftError(
        'ADAPTER_MISMATCH',
        `${path}: ${key} is [${found.shape}], expected [${variable.shape}].`,
      )
    used.add(key)
    flat.set(floatsOf(found, key), variable.offset)
  }
  const surplus = [...tensors.keys()].filter((k) => !used.has(k))
  if (surplus.length > 0)
    throw new GraftError('ADAPTER_MISMATCH', `${path}: the method has no variable for ${surplus.join(', ')}.`)
  return flat
}

/** The name torch has for a variable; one that all layers share goes by the first layer's path. */
function torchName(v: Variable, tensors: ReadonlyMap<string, unknown>): string | undefined {
  const names = [fileKey(v), moduleKey(v.name), v.name, `${moduleKey(v.name)}.weight`]
  const named = names.find((k) => tensors.has(k))
  return named ?? (v.key ? [...tensors.keys()].find((k) => k.endsWith(`.${v.name}`)) : undefined)
}

/**
 * Greatest difference of any gradient, relative to the greatest of the same tensor, or to a thousandth of the
 * greatest of all: some gradients are zero but for rounding, such as those of a key's bias, which moves all
 * scores of a row alike.
 */
export function greatestRelative(flat: Float32Array, path: string, variables: Variables): number {
  const least = flat.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 1000
  const relative = gradientsIn(path, variables).map((reference, i) => {
    const { offset, size } = variables.list[i]
    const scale = reference.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    return greatestDifference(flat.subarray(offset, offset + size), reference) / (Math.max(scale, least) || 1)
  })
  return Math.max(...relative)
}

/** Cosine of the angle between the whole gradient and the file's. */
export function cosineTo(flat: Float32Array, path: string, variables: Variables): number {
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0)
  const [along, own, file] = gradientsIn(path, variables)
    .map((reference, i) => {
      const { offset, size } = variables.list[i]
      const part = flat.subarray(offset, offset + size)
      return [dot(part, reference), dot(part, part), dot(reference, reference)]
    })
    .reduce((a, b) => a.map((v, i) => v + b[i]))
  return along / Math.sqrt(own * file)
}

/** Each variable's gradient as the file has it; zeros where it has none. */
function gradientsIn(path: string, variables: Variables): Float32Array[] {
  const { tensors } = readSafetensors(path)
  return variables.list.map((variable) => {
    const stored = tensors.get(torchName(variable, tensors) ?? '')
    return stored ? floatsOf(stored, variable.name) : new Float32Array(variable.size)
  })
}

/**
 * Tensors whose gradient is rounding alone: AdamW divides it by its own size, so they wander at random in any
 * implementation.
 */
export function withoutGradient(path: string, variables: Variables): Set<string> {
  const { tensors } = readSafetensors(path)
  const sizes = variables.list.map((v) => {
    const stored = tensors.get(torchName(v, tensors) ?? '')
    return {
      key: fileKey(v),
      size: stored ? floatsOf(stored, v.name).reduce((m, x) => Math.max(m, Math.abs(x)), 0) : 0,
    }
  })
  const greatest = Math.max(...sizes.map((s) => s.size))
  return new Set(sizes.filter((s) => s.size < 1e-6 * greatest).map((s) => s.key))
}

/**
 * Greatest distance between two files' tensors, relative to the tensor's norm; infinite where a name or a
 * shape differs.
 */
export function greatestOfTensors(
  own: ReadonlyMap<string, StoredTensor>,
  file: ReadonlyMap<string, StoredTensor>,
  skipped: ReadonlySet<string>,
): number {
  const reference = withoutCopies(file, new Set(own.keys()))
  if (own.size !== reference.size) return Number.POSITIVE_INFINITY
  const differences = [...reference].map(([key, expected]) => {
    const found = own.get(key)
    if (skipped.has(key)) return 0
    return found && `${found.shape}` === `${expected.shape}`
      ? relativeDistance(floatsOf(found, key), floatsOf(expected, key))
      : Number.POSITIVE_INFINITY
  })
  return Math.max(0, ...differences)
}

const norm = (a: Float32Array): number => Math.sqrt(a.reduce((sum, v) => sum + v * v, 0))

/** ‖a − b‖ / ‖b‖. */
export const relativeDistance = (a: Float32Array, b: Float32Array): number =>
  norm(a.map((v, i) => v - b[i])) / (norm(b) || 1)
