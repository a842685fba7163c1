import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { cacheFolder } from '../../files/cache.js'
import { fileDigest } from '../../files/digest.js'
import { keepFile } from '../../files/kept.js'
import { byRows, type Packed } from '../packed/packed.js'
import { write } from '../packed/unpack.js'
import { configOf, type Family, unreadGguf } from './config.js'
import { type GgufFile, type GgufTensor, readGguf } from './file.js'
import { rowReader } from './rows.js'

/** A Hugging Face folder made of a GGUF file, in the cache, and what it was made of. */
export interface Imported {
  folder: string
  notice: string
}
/** Changes when the same file would be made another folder. */
const version = 1

/** Tensors outside layers, and those of layers, by what a Hugging Face folder calls them. */
const outside: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
}
const inLayer: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}

/**
 * Makes a Hugging Face folder of a GGUF file: its weights unpacked, config.json of its metadata, tokenizer and chat template of the files
 * beside it. It is made once and lies in the cache.
 *
 * @throws FILE_NOT_FOUND, BAD_GGUF, UNKNOWN_GGUF.
 */
export function importGguf(path: string): Imported {
  const file = readGguf(path)
  const { family, config } = configOf(path, file)
  const packed = [...file.tensors]
    .filter(([name]) => name !== 'rope_freqs.weight')
    .map(([name, tensor]) => packedOf(path, name, tensor, family, config))
  const folder = join(cacheFolder(), 'gguf', `${version}-${fileDigest(path).slice(0, 32)}`)
  keepFile(join(folder, 'model.safetensors'), (put) => write(packed, 'F16', path, put))
  writeAtomically(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  const template = file.metadata.get('tokenizer.chat_template')
  if (typeof template === 'string') writeAtomically(join(folder, 'chat_template.jinja'), template)
  for (const name of readdirSync(dirname(path)).filter((n) => ofTokenizers.test(n)))
    writeAtomically(join(folder, name), readFileSync(join(dirname(path), name)))
  return { folder, notice: `Unpacked from GGUF, ${kinds(file)}, into ${folder}.${textless(folder)}` }
}
const ofTokenizers =
  /^(tokenizer.*\.json|special_tokens_map\.json|generation_config\.json|chat_template\.jinja)$/
const textless = (folder: string): string =>
  existsSync(join(folder, 'tokenizer.json'))
    ? ''
    : ' Lay tokenizer.json of the original model beside the file: GGUF keeps it in another form.'

/** How many tensors of each type there are: "Q4_K (12), F32 (5)". */
function kinds({ tensors }: GgufFile): string {
  const counts = new Map<string, number>()
  for (const { type } of tensors.values()) counts.set(type.name, (counts.get(type.name) ?? 0) + 1)
  return [...counts].map(([name, n]) => `${name} (${n})`).join(', ')
}

function nameOf(path: string, name: string): string {
  const [, layer, part, end] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? []
  const table = layer === undefined ? outside : inLayer
  if (part === undefined || !Object.hasOwn(table, part))
    throw unreadGguf(path, `tensor ${name} has no place in the model that its metadata describes`)
  return `${layer === undefined ? '' : `model.layers.${layer}.`}${table[part]}.${end}`
}

function packedOf(
  path: string,
  name: string,
  tensor: GgufTensor,
  { interleaved }: Family,
  config: Record<string, unknown>,
): Packed {
  const own = nameOf(path, name)
  const heads = Number(
    { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads ?? config.num_attention_heads }[
      own.split('.').at(-2) as 'q_proj' | 'k_proj'
    ],
  )
  const [rows, columns = 1] = tensor.shape
  const turned = interleaved && heads > 0
  if (tensor.shape.length > 2 || (turned && rows % (2 * heads) !== 0))
    throw unreadGguf(path, `tensor ${name} is [${tensor.shape.join(', ')}]`)
  const from = turned ? neighbours(rows / heads) : (row: number) => row
  return {
    name: own,
    shape: tensor.shape,
    parts: [],
    dtype: tensor.type.name === 'F32' || tensor.type.name === 'BF16' ? tensor.type.name : 'F16',
    values() {
      // A vector is one row, whose numbers may be packed together.
      if (tensor.shape.length === 1 && !turned) return byRows([1, rows], rowReader(tensor, rows))
      const read = rowReader(tensor, columns)
      return byRows([rows, columns], (row, r) => read(row, from(r)))
    },
  }
}
/** Where llama.cpp keeps a head's row r: the two that turn together, halves of a head apart, are neighbours there. */
const neighbours = (width: number) => (r: number) => {
  const [head, within] = [Math.floor(r / width), r % width]
  const half = width / 2
  return head * width + (within % half) * 2 + Math.floor(within / half)
}
