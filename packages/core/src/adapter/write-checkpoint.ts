import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { AtomicFile, type Constant, readBytes, writeAtomically } from '@graft-peft/onnx'
import { Checkpoint } from '../architecture/checkpoint.js'
import { noPacking } from '../architecture/packed/unpack.js'
import type { Task, Untied } from '../architecture/architecture.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import { copyBesides } from './besides.js'
import { type NamedSlot, parametersIn } from './fold.js'
import { withKeys } from '../files/json-text.js'
import { encoders, type LocatedTensor, safetensorsHeader, type StoredTensor } from '../files/safetensors.js'

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
          ...('num_labels' in model.config ? { num_labels: labels.length } : {}),
          id2label: { ...labels },
          label2id: Object.fromEntries(labels.map((l, i) => [l, i])),
        }
      : {}
  const own = join(model.folder, 'config.json')
  writeAtomically(
    join(output, 'config.json'),
    withKeys(existsSync(own) ? readFileSync(own, 'utf8') : '{}\n', {
      ...(architectures ? { architectures } : {}),
      ...named,
      ...(model.addedTokens.length > 0 ? { vocab_size: model.tokenEmbedding?.rows } : {}),
      ...noPacking,
      ...changes,
    }),
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
  untied: Untied = { config: {}, scale: 1 },
): string {
  const checkpoint = Checkpoint.open(base.folder, base.config)
  const { tensors, apart } = merged(base, checkpoint, weights, untied.scale)
  copyBesides(base, output)
  const file = join(output, 'model.safetensors')
  writeTensors(file, tensors)
  writeConfig(base, output, labels, apart ? { tie_word_embeddings: false, ...untied.config } : {})
  return file
}

function merged(
  base: Model,
  checkpoint: Checkpoint,
  weights: ReadonlyMap<string, Float32Array>,
  headScale: number,
): { tensors: Map<string, Source>; apart: boolean } {
  const slots = new Map<string, NamedSlot[]>()
  for (const named of parametersIn(base)) {
    const name = storedName(named, checkpoint)
    slots.set(name, [...(slots.get(name) ?? []), named])
  }
  const tensors = new Map<string, Source>(
    [...checkpoint.tensors].map(([name, t]) => [name, { ...t, from: t }]),
  )
  let apart = false
  for (const [name, users] of slots) {
    const fresh = users.filter((u) => weights.has(u.slot.key) || !('file' in (u.slot.constant?.data ?? {})))
    if (fresh.length === 0) continue
    const values = (u: NamedSlot) => source(u.slot.constant as Constant, weights.get(u.slot.key))
    const whole = checkpoint.tensors.get(name)
    if (whole && users.every((u) => isPart(u, whole))) {
      tensors.set(name, withParts(whole, fresh, values))
      continue
    }
    if (agree(users, weights)) {
      tensors.set(name, values(users[0]))
      continue
    }
    apart = true
    const { head, others } = headAmong(base, name, users, weights)
    const [own, rest] = [head, others[0]].map(({ site }) => `${site.path}.weight`)
    tensors.set(name === own ? rest : name, values(others[0]))
    tensors.set(own, scaled(values(head), head, weights, headScale))
  }
  return { tensors, apart }
}
/** The name of the tensor of the checkpoint that a parameter is, or is rows of; its path where the checkpoint doesn't have it. */
function storedName({ name, slot }: NamedSlot, { tensors }: Checkpoint): string {
  const data = slot.constant?.data
  if (!data || !('file' in data)) return name
  const holds = ({ file, offset, length }: LocatedTensor) =>
    file === data.file && offset <= data.offset && data.offset + data.length <= offset + length
  return [...tensors].find(([, tensor]) => holds(tensor))?.[0] ?? name
}
/** Whether a parameter is some rows of a tensor, as checkpoints hold queries, keys and values in one. */
function isPart({ slot }: NamedSlot, whole: LocatedTensor): boolean {
  const data = slot.constant?.data
  return !!data && 'file' in data && data.length < whole.length
}
/** A tensor with new values for some of its parts. */
function withParts(
  whole: LocatedTensor,
  parts: readonly NamedSlot[],
  values: (part: NamedSlot) => Source,
): Source {
  const bytes = Uint8Array.from(readBytes(whole))
  for (const part of parts) {
    const [fresh, data] = [values(part), part.slot.constant?.data]
    if ('bytes' in fresh && data && 'file' in data) bytes.set(fresh.bytes, data.offset - whole.offset)
  }
  return { ...whole, bytes }
}
const agree = (users: readonly NamedSlot[], weights: ReadonlyMap<string, Float32Array>): boolean =>
  users.every((u) => sameValues(weights.get(u.slot.key), weights.get(users[0].slot.key)))

/** The users of a parameter that have come apart: the output layer can get its own, anything else can't be told apart by a config. */
function headAmong(
  base: Model,
  name: string,
  users: readonly NamedSlot[],
  weights: ReadonlyMap<string, Float32Array>,
): { head: NamedSlot; others: NamedSlot[] } {
  const head = users.find((u) => u.site.path === base.outputEmbedding?.path)
  const others = users.filter((u) => u !== head)
  if (head && others.length > 0 && agree(others, weights)) return { head, others }
  throw new GraftError(
    'MERGE_SHARED',
    `${base.file}: ${users.map((u) => u.site.path).join(' and ')} share ${name}, and the adapter changed them apart; no checkpoint of this model can hold that. Use the adapter beside its base, or merge to ONNX.`,
  )
}
function scaled(
  plain: Source,
  { slot }: NamedSlot,
  weights: ReadonlyMap<string, Float32Array>,
  scale: number,
): Source {
  const values = scale === 1 ? undefined : (weights.get(slot.key) ?? slot.reader()())
  return values
    ? source(
        slot.constant as Constant,
        values.map((v) => v * scale),
      )
    : plain
}
const sameValues = (a: Float32Array | undefined, b: Float32Array | undefined): boolean =>
  a === b ||
  (!!a &&
    !!b &&
    Buffer.compare(
      Buffer.from(a.buffer, a.byteOffset, a.byteLength),
      Buffer.from(b.buffer, b.byteOffset, b.byteLength),
    ) === 0)

const storedTypes: Partial<Record<Constant['dtype'], keyof typeof encoders>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
}
/** New values in the type that the base has, or what the base holds. */
function source({ dtype, shape, data }: Constant, values: Float32Array | undefined): Source {
  const type = storedTypes[dtype] as keyof typeof encoders
  if (!values && 'file' in data)
    return { dtype: type, shape, length: data.length, from: { dtype: type, shape, ...data } }
  const view = values ? encoders[type](values) : (data as { bytes: Uint8Array }).bytes
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
