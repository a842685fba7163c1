import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storedFloats, type Task, type Tensors } from '@graft-peft/core'
import { writeSafetensors } from '@graft-peft/core/inside'

/** What test/golden/make_models.py writes. */
export interface Case {
  type: string
  seed: number
  task: Task
  config: Record<string, unknown>
  tensors: Record<string, number[]>
  inputs: Record<string, number[][]>
  pixels?: [number[], string]
  output: [number[], string]
  prompts?: number[][]
  written?: number[][]
  targets: string[] | string
  /** per parameter: product with numbers that follow from its name, norm, greatest */
  gradients: Record<string, [number, number, number]>
  loss: number
}
export const readCase = (path: string): Case => JSON.parse(readFileSync(path, 'utf8'))

/** Numbers that follow from a tensor's name, as make_models.py makes them. */
export function values(name: string, shape: readonly number[]): Float32Array {
  let h = 2166136261
  for (const byte of Buffer.from(name)) h = Math.imul(h ^ byte, 16777619) >>> 0
  const spread = shape.length < 2 ? 0.3 : 2.4 / Math.sqrt(shape[shape.length - 1])
  const base = shape.length === 1 && name.endsWith('weight') ? 1 : 0
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    let x = (Math.imul(i, 2654435761) + h) >>> 0
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0
    x = (x ^ (x >>> 16)) >>> 0
    return base + (x / 2 ** 32 - 0.5) * spread
  })
}

/** The model as a Hugging Face folder. */
export function writeModel({ config, tensors }: Case, folder: string): string {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const stored = new Map(
    Object.entries(tensors).map(([k, shape]) => [k, storedFloats(values(k, shape), shape)]),
  )
  writeSafetensors(join(folder, 'model.safetensors'), { tensors: stored, metadata: { format: 'pt' } })
  return folder
}

export const unpack = (text: string): Float32Array =>
  new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer)
const whole = (rows: readonly (readonly number[])[]): Tensors[string] => ({
  dtype: 'int64',
  shape: [rows.length, rows[0].length],
  data: BigInt64Array.from(rows.flat(), BigInt),
})

/** What the model is fed: the case's own inputs, positions counted from the left where it gives none. */
export function feedsOf({ inputs, pixels }: Case, names: readonly string[]): Tensors {
  const { input_ids: ids = [] } = inputs
  const all: Tensors = {
    ...(ids.length > 0
      ? {
          position_ids: whole(ids.map((row) => row.map((_, i) => i))),
          token_type_ids: whole(ids.map((row) => row.map(() => 0))),
        }
      : {}),
    ...Object.fromEntries(Object.entries(inputs).map(([name, rows]) => [name, whole(rows)])),
    ...(pixels ? { pixel_values: { dtype: 'float32', shape: pixels[0], data: unpack(pixels[1]) } } : {}),
  }
  return Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)))
}

/** 1 for every number of the output that counts, 0 for those at padding. */
export function counted({ inputs, output: [shape], task }: Case): Float32Array {
  const mask = inputs.attention_mask?.flat()
  const [, length, width] = shape
  const perToken = mask && shape.length === 3 && task !== 'sequence-to-sequence'
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) =>
    perToken ? mask[Math.floor(i / width / length) * length + (Math.floor(i / width) % length)] : 1,
  )
}
