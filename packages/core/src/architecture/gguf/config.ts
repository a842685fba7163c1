import { GraftError } from '../../errors.js'
import { badGguf, type GgufFile, type Meta } from './file.js'
import { numbersOf } from './rows.js'

/** What a family of GGUF files is in a Hugging Face folder. */
export interface Family {
  architectures: readonly string[]
  /** llama.cpp turns pairs of neighbours, so the rows of queries and keys were put in another order for it */
  interleaved: boolean
}
/** By general.architecture, which is the model_type too. */
const families: Readonly<Record<string, Family>> = {
  llama: { architectures: ['LlamaForCausalLM'], interleaved: true },
  qwen2: { architectures: ['Qwen2ForCausalLM'], interleaved: false },
  qwen3: { architectures: ['Qwen3ForCausalLM'], interleaved: false },
}

/** Keys of the metadata, behind the architecture's name, that config.json calls so. */
const keys: Readonly<Record<string, string>> = {
  context_length: 'max_position_embeddings',
  embedding_length: 'hidden_size',
  block_count: 'num_hidden_layers',
  feed_forward_length: 'intermediate_size',
  'attention.head_count': 'num_attention_heads',
  'attention.head_count_kv': 'num_key_value_heads',
  'attention.key_length': 'head_dim',
  'attention.layer_norm_rms_epsilon': 'rms_norm_eps',
  'rope.freq_base': 'rope_theta',
}
/** Keys that others make up for, or that say no more than the tensors. */
const besides = ['attention.value_length', 'rope.dimension_count', 'vocab_size', 'rope.scaling.type']
const scaling = [
  'rope.scaling.factor',
  'rope.scaling.original_context_length',
  'rope.scaling.finetuned',
  'rope.scale_linear',
]

export const unreadGguf = (path: string, why: string): GraftError =>
  new GraftError('UNKNOWN_GGUF', `${path}: ${why}. Give the model as a Hugging Face folder.`)

/** The config.json of a GGUF file. Throws UNKNOWN_GGUF for what would make it another model, BAD_GGUF for what is missing. */
export function configOf(path: string, file: GgufFile): { family: Family; config: Record<string, unknown> } {
  const { metadata, tensors } = file
  const type = String(metadata.get('general.architecture'))
  if (!Object.hasOwn(families, type))
    throw unreadGguf(path, `GGUF of ${type} is not read here; ${Object.keys(families).join(', ')} are`)
  const family = families[type]
  const own = (key: string) => metadata.get(`${type}.${key}`)
  requireKnown(path, type, metadata)
  const renamed = Object.entries(keys).flatMap(([key, name]) => {
    const value = own(key)
    if (value !== undefined && typeof value !== 'number')
      throw unreadGguf(path, `${type}.${key} is not one number for all layers`)
    return value === undefined ? [] : [[name, tidy(value)] as const]
  })
  const config: Record<string, unknown> = { rope_theta: 10000, ...Object.fromEntries(renamed) }
  for (const name of ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'rms_norm_eps'])
    if (!(name in config)) throw badGguf(path, `its metadata lacks what config.json calls ${name}`)
  const headDim = config.head_dim ?? Number(config.hidden_size) / Number(config.num_attention_heads)
  requireSize(path, own, headDim)
  const { rope_theta: base, ...plain } = config
  return {
    family,
    config: {
      model_type: type,
      architectures: family.architectures,
      ...plain,
      head_dim: headDim,
      vocab_size: tensors.get('token_embd.weight')?.shape[0],
      tie_word_embeddings: !tensors.has('output.weight'),
      ...(type === 'llama' ? { attention_bias: tensors.has('blk.0.attn_q.bias') } : {}),
      rope_parameters: { rope_theta: base, ...ropeOf(path, own, file, Number(base), Number(headDim)) },
      ...tokensOf(metadata),
      dtype: 'float16',
    },
  }
}
/** The shortest number that float32 doesn't tell from it: 1e-5, and not 0.000009999999747378752. */
const tidy = (value: number): number => {
  const short = Number(value.toPrecision(7))
  return Math.fround(short) === value ? short : value
}

function requireKnown(path: string, type: string, metadata: GgufFile['metadata']): void {
  const known = [...Object.keys(keys), ...besides, ...scaling].map((key) => `${type}.${key}`)
  const strange = [...metadata.keys()].filter((key) => key.startsWith(`${type}.`) && !known.includes(key))
  if (strange.length > 0)
    throw unreadGguf(path, `its metadata has ${strange.join(', ')}, which isn't read here`)
}
/** All of a head turns, and values are as wide as keys. */
function requireSize(path: string, own: (key: string) => Meta | undefined, headDim: unknown): void {
  for (const key of ['attention.value_length', 'rope.dimension_count'])
    if (own(key) !== undefined && own(key) !== headDim)
      throw unreadGguf(path, `${key} is ${own(key)}, and a head ${headDim} wide`)
}

/** How positions are stretched. */
function ropeOf(
  path: string,
  own: (key: string) => Meta | undefined,
  { tensors }: GgufFile,
  base: number,
  headDim: number,
): Record<string, unknown> {
  const type = own('rope.scaling.type') ?? (own('rope.scale_linear') === undefined ? 'none' : 'linear')
  const factor = own('rope.scaling.factor') ?? own('rope.scale_linear')
  const original = own('rope.scaling.original_context_length')
  if (tensors.has('rope_freqs.weight')) return llama3(path, tensors, base, headDim)
  if (type === 'none') return { rope_type: 'default' }
  if (type === 'linear') return { rope_type: 'linear', factor }
  if (type === 'yarn') return { rope_type: 'yarn', factor, original_max_position_embeddings: original }
  throw unreadGguf(path, `rope.scaling.type ${String(type)} is not read here`)
}

/** Llama 3's stretched rope, which GGUF keeps as what each frequency is divided by, and no more. */
function llama3(path: string, tensors: GgufFile['tensors'], base: number, headDim: number) {
  const found = tensors.get('rope_freqs.weight')
  const divisors = found ? numbersOf(found) : []
  const factor = tidy(Math.max(...divisors))
  if (factor === 1) return { rope_type: 'default' }
  const known = { factor, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }
  const expected = Array.from({ length: headDim / 2 }, (_, i) => {
    const turns = (8192 * base ** ((-2 * i) / headDim)) / (2 * Math.PI)
    const smooth = Math.min(1, Math.max(0, (turns - 1) / 3))
    return 1 / ((1 - smooth) / factor + smooth)
  })
  if (divisors.length !== expected.length || divisors.some((v, i) => !(Math.abs(v / expected[i] - 1) < 1e-3)))
    throw unreadGguf(path, "rope_freqs.weight is none of Llama 3's")
  return { rope_type: 'llama3', ...known }
}

const tokensOf = (metadata: GgufFile['metadata']): Record<string, unknown> =>
  Object.fromEntries(
    ['bos', 'eos'].flatMap((name) => {
      const id = metadata.get(`tokenizer.ggml.${name}_token_id`)
      return id === undefined ? [] : [[`${name}_token_id`, id]]
    }),
  )
