import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { AtomicFile, type Constant, floatToBfloat16, floatToHalf, writeAtomically } from '@graft-peft/onnx'
import { Checkpoint } from '../architecture/checkpoint.js'
import type { Task } from '../architecture/architecture.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import { type NamedSlot, parametersIn } from './fold.js'
import { type LocatedTensor, safetensorsHeader, type StoredTensor } from '../files/safetensors.js'

/** Files of a model's folder that go with its weights. */
const besides = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  'preprocessor_config.json',
  'chat_template.jinja',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'tokenizer.model',
  'spiece.model',
  'added_tokens.json',
]
export function copyBesides(folder: string, output: string): void {
  mkdirSync(output, { recursive: true })
  for (const name of besides)
    if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(output, name))
}

const classSuffix: Partial<Record<Task, string>> = {
  'causal-lm': 'ForCausalLM',
  'sequence-classification': 'ForSequenceClassification',
  'token-classification': 'ForTokenClassification',
  'image-classification': 'ForImageClassification',
  features: 'Model',
}
/** The name of transformers' class for what the model is now for: the config's own with another ending. */
function classNames(model: Model): readonly string[] | undefined {
  const [own] = [model.config.architectures].flat() as (string | undefined)[]
  const suffix = model.task && classSuffix[model.task]
  if (!own || !suffix) return undefined
  return own.endsWith(suffix) || (suffix === 'ForCausalLM' && own.endsWith('LMHeadModel'))
    ? [own]
    : [own.replace(/(For[A-Z]\w*|LMHeadModel|Model)$/, '') + suffix]
}

/** config.json of a model that was adapted: what it is for, and the names of its labels. */
export function writeConfig(
  model: Model,
  output: string,
  labels: readonly string[],
  changes: Record<string, unknown> = {},
): void {
  const architectures = classNames(model)
  const named =
    labels.length > 0
      ? {
          num_labels: labels.length,
          id2label: { ...labels },
          label2id: Object.fromEntries(labels.map((l, i) => [l, i])),
        }
      : {}
  writeAtomically(
    join(output, 'config.json'),
    `${JSON.stringify({ ...model.config, ...(architectures ? { architectures } : {}), ...named, ...changes }, null, 2)}\n`,
  )
}

/** A tensor to write: new values, or bytes to copy from where they lie. */
type Source = { dtype: StoredTensor['dtype']; shape: readonly number[]; length: number } & (
  | { bytes: Uint8Array }
  | { from: LocatedTensor }
)

/**
 * Writes a Hugging Face folder: the base's checkpoint with some parameters replaced, each in the type it had. An output layer that
 * shared its weight with the embedding and no longer equals it gets a weight of its own, and the config says so.
 * Throws MERGE_SHARED where other modules that share a parameter have come apart.
 */
export function writeCheckpoint(
  base: Model,
  weights: ReadonlyMap<string, Float32Array>,
  output: string,
  labels: readonly string[],
): string {
  const checkpoint = Checkpoint.open(base.folder)
  const { tensors, untied } = merged(base, checkpoint, weights)
  copyBesides(base.folder, output)
  const file = join(output, 'model.safetensors')
  writeTensors(file, tensors)
  writeConfig(base, output, labels, untied ? { tie_word_embeddings: false } : {})
  return file
}

function merged(
  base: Model,
  checkpoint: Checkpoint,
  weights: ReadonlyMap<string, Float32Array>,
): { tensors: Map<string, Source>; untied: boolean } {
  const byPlace = new Map([...checkpoint.tensors].map(([name, t]) => [`${t.file}@${t.offset}`, name]))
  const slots = new Map<string, NamedSlot[]>()
  for (const named of parametersIn(base)) {
    const name = storedName(named, byPlace)
    slots.set(name, [...(slots.get(name) ?? []), named])
  }
  const tensors = new Map<string, Source>(
    [...checkpoint.tensors].map(([name, t]) => [name, { ...t, from: t }]),
  )
  let untied = false
  for (const [name, users] of slots) {
    const fresh = users.filter((u) => weights.has(u.slot.key) || !('file' in (u.slot.constant?.data ?? {})))
    if (fresh.length === 0) continue
    const values = (u: NamedSlot) => source(u.slot.constant as Constant, weights.get(u.slot.key))
    const agree =
      fresh.length === users.length &&
      users.every((u) => sameValues(weights.get(u.slot.key), weights.get(users[0].slot.key)))
    if (agree) tensors.set(name, values(users[0]))
    else {
      untied = true
      for (const u of fresh) tensors.set(apart(base, u, name, users), values(u))
    }
  }
  return { tensors, untied }
}
/** A parameter's name in the checkpoint; its path where the checkpoint doesn't have it. */
function storedName({ name, slot }: NamedSlot, byPlace: ReadonlyMap<string, string>): string {
  const data = slot.constant?.data
  return (data && 'file' in data && byPlace.get(`${data.file}@${data.offset}`)) || name
}
/** Where a parameter goes that others shared until now: the output layer gets its own, anything else can't be told apart by a config. */
function apart(base: Model, user: NamedSlot, name: string, users: readonly NamedSlot[]): string {
  const head = base.outputEmbedding?.path
  if (user.site.path === head) return `${head}.weight`
  if (users.every((u) => u.site.path === head || u === user)) return name
  throw new GraftError(
    'MERGE_SHARED',
    `${base.file}: ${users.map((u) => u.site.path).join(' and ')} share ${name}, and the adapter changed them apart; no checkpoint of this model can hold that. Use the adapter beside its base, or merge to ONNX.`,
  )
}
const sameValues = (a: Float32Array | undefined, b: Float32Array | undefined): boolean =>
  a === b ||
  (!!a &&
    !!b &&
    Buffer.compare(
      Buffer.from(a.buffer, a.byteOffset, a.byteLength),
      Buffer.from(b.buffer, b.byteOffset, b.byteLength),
    ) === 0)

const encoders: Partial<
  Record<Constant['dtype'], readonly [StoredTensor['dtype'], (v: Float32Array) => ArrayBufferView]>
> = {
  float32: ['F32', (v) => v],
  bfloat16: ['BF16', floatToBfloat16],
  float16: ['F16', floatToHalf],
}
function source({ dtype, shape, data }: Constant, values: Float32Array | undefined): Source {
  const [type, encode] = encoders[dtype] as NonNullable<(typeof encoders)['float32']>
  if (!values)
    return {
      dtype: type,
      shape,
      length: (data as { bytes: Uint8Array }).bytes.byteLength,
      bytes: (data as { bytes: Uint8Array }).bytes,
    }
  const view = encode(values)
  return {
    dtype: type,
    shape,
    length: view.byteLength,
    bytes: new Uint8Array(view.buffer, view.byteOffset, view.byteLength),
  }
}

function writeTensors(path: string, tensors: ReadonlyMap<string, Source>): void {
  const file = new AtomicFile(path)
  try {
    file.write(
      safetensorsHeader(
        [...tensors].map(([name, { dtype, shape, length }]) => ({ name, dtype, shape, length })),
        { format: 'pt' },
      ),
    )
    for (const tensor of tensors.values()) {
      if ('bytes' in tensor) file.write(tensor.bytes)
      else for (const chunk of chunksOf(tensor.from)) file.write(chunk)
    }
    file.finish()
  } finally {
    file.discard()
  }
}
function* chunksOf({ file, offset, length }: LocatedTensor): Generator<Uint8Array> {
  const buffer = new Uint8Array(Math.min(length, 2 ** 24))
  const fd = openSync(file, 'r')
  try {
    for (let done = 0; done < length; ) {
      const n = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), offset + done)
      if (n === 0)
        throw new GraftError('TRUNCATED_WEIGHTS', `${file}: ends in the middle of a tensor. Fetch it again.`)
      yield buffer.subarray(0, n)
      done += n
    }
  } finally {
    closeSync(fd)
  }
}
