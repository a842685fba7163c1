import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { configFile, readAdapterConfig } from '../adapter/files.js'
import { readObject } from '../files/json.js'
import { floatsOf, readSafetensors, type StoredTensor } from '../files/safetensors.js'
import { hasCheckpoint } from '../architecture/checkpoint.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import type { Example } from '../data/example.js'
import { float32, int64, type Tensor, type Tensors } from '../runtime/tensor.js'

/** A folder of reference results: what HF PEFT computes for one model, per method. */
export interface Golden {
  folder: string
  /** the same model from different exporters, and as a Hugging Face folder */
  exports: readonly string[]
  cases: readonly string[]
  feeds: Tensors
  logits: Float32Array
  examples: readonly Example[]
  /** token id of padding */
  pad: number
  /** images, for a model of images */
  pixels: Tensors
}
export interface Trajectory {
  losses: number[]
  /** singular values in use after each step, for methods that allot ranks */
  nonzero_singular_values?: number[]
  optimizer: { lr: number; betas: [number, number]; eps: number; weight_decay: number }
}

/** A folder's model: an ONNX file, or a Hugging Face folder. */
function modelIn(folder: string): string[] {
  if (hasCheckpoint(folder)) return [folder]
  const file = join(folder, 'model.onnx')
  return existsSync(file) ? [file] : []
}

/** Opens a folder of reference results. Throws NOT_GOLDEN saying what is missing. */
export function openGolden(folder: string): Golden {
  for (const file of ['batch.safetensors', 'forward.safetensors'])
    if (!existsSync(join(folder, file)))
      throw new GraftError(
        'NOT_GOLDEN',
        `${folder}: ${file} is missing. Give a folder of reference results: batch.safetensors, forward.safetensors, onnx/, and a folder per method.`,
      )
  const batch = readSafetensors(join(folder, 'batch.safetensors')).tensors
  const forward = readSafetensors(join(folder, 'forward.safetensors')).tensors
  const entries = readdirSync(folder).filter((name) => statSync(join(folder, name)).isDirectory())
  return {
    folder,
    exports: entries.flatMap((name) => modelIn(join(folder, name))),
    cases: entries.filter((name) => existsSync(join(folder, name, 'start', configFile))),
    feeds: Object.fromEntries(
      [...batch].filter(([name]) => name !== 'labels').map(([name, t]) => [name, tensorOf(name, t)]),
    ),
    logits: floatsOf(required(forward, 'logits', folder), 'logits'),
    examples: examplesOf(batch, folder, decoderStart(folder)),
    pad: padOf(batch),
    pixels: Object.fromEntries(
      [...batch].filter(([name]) => name === 'pixel_values').map(([name, t]) => [name, tensorOf(name, t)]),
    ),
  }
}

function required(tensors: Map<string, StoredTensor>, name: string, folder: string): StoredTensor {
  const found = tensors.get(name)
  if (!found) throw new GraftError('NOT_GOLDEN', `${folder}: tensor ${name} is missing from its files.`)
  return found
}
const integers = ({ data }: StoredTensor): number[] =>
  Array.from(new BigInt64Array(new Uint8Array(data).buffer), Number)
const tensorOf = (name: string, t: StoredTensor): Tensor =>
  t.dtype === 'I64' ? int64(integers(t), t.shape) : float32(floatsOf(t, name), t.shape)

/** The token that a decoder starts from, or −1 for a model without one. */
function decoderStart(folder: string): number {
  const path = join(folder, 'model/config.json')
  const config = existsSync(path) ? readObject(path, 'BAD_MODEL_CONFIG') : {}
  return config.is_encoder_decoder ? Number(config.decoder_start_token_id ?? 0) : -1
}

/** The id that stands where the attention mask is zero. */
function padOf(tensors: Map<string, StoredTensor>): number {
  const [ids, mask] = ['input_ids', 'attention_mask'].map((name) => tensors.get(name))
  return ids && mask ? (integers(ids)[integers(mask).indexOf(0)] ?? 0) : 0
}

function examplesOf(tensors: Map<string, StoredTensor>, folder: string, start: number): Example[] {
  const labels = required(tensors, 'labels', folder)
  const values = integers(labels)
  const ids = tensors.get('input_ids')
  if (!ids) return values.map((label) => ({ ids: [], label }))
  const [count, length] = ids.shape
  const [all, mask] = [integers(ids), integers(required(tensors, 'attention_mask', folder))]
  const row = (list: number[], b: number) => list.slice(b * length, (b + 1) * length)
  return Array.from({ length: count }, (_, b): Example => {
    const real = row(all, b).slice(0, row(mask, b).filter(Boolean).length)
    if (labels.shape.length === 1) return { ids: real, label: values[b] }
    const tokenLabels = values.slice(b * labels.shape[1], (b + 1) * labels.shape[1])
    // What a decoder reads is what it should write, shifted by one, padding where nothing is to be written.
    return {
      ids: real,
      tokenLabels,
      ...(start >= 0
        ? { decoderIds: [start, ...tokenLabels.slice(0, -1).map((l) => (l === -100 ? padOf(tensors) : l))] }
        : {}),
    }
  })
}

/** What one case is fed besides: the tasks of its rows. */
export function caseInputs(golden: Golden, name: string): Tensors {
  const path = join(golden.folder, name, 'inputs.safetensors')
  if (!existsSync(path)) return {}
  return Object.fromEntries([...readSafetensors(path).tensors].map(([key, t]) => [key, tensorOf(key, t)]))
}
export const caseConfig = (golden: Golden, name: string) =>
  readAdapterConfig(join(golden.folder, name, 'start'))
export const trajectoryOf = (golden: Golden, name: string): Trajectory =>
  readObject(join(golden.folder, name, 'trajectory.json'), 'BAD_GOLDEN') as unknown as Trajectory
/** onnx, onnx-script, model, … */
export const exportName = (model: Model): string => basename(join(model.file, '..'))
