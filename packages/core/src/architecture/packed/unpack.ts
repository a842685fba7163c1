import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { GraftError } from '../../errors.js'
import { cacheFolder } from '../../files/cache.js'
import { fileDigest } from '../../files/digest.js'
import { isObject, shown } from '../../files/json.js'
import { keepFile } from '../../files/kept.js'
import { encoders, type LocatedTensor, locateTensors, safetensorsHeader } from '../../files/safetensors.js'
import { Settings } from '../settings.js'
import { type Kept, type Packed, Stored, type Unpacker, unknownPacking } from './packed.js'
import { compressedTensors, fp8 } from './scaled.js'
import { bitsandbytes, mxfp4 } from './tables.js'
import { awq, gptq } from './words.js'

/** Tools that pack weights, by quantization_config's quant_method. */
const unpackers: Readonly<Record<string, Unpacker>> = {
  gptq,
  awq,
  fp8,
  'compressed-tensors': compressedTensors,
  bitsandbytes,
  mxfp4,
}

/** Changes when the same tensors would be unpacked to other numbers. */
const version = 1

/** Keys under which config.json speaks of packed weights: the one in use, and an older one. */
const packingKeys = ['quantization_config', 'compression_config'] as const
/** What config.json says of packed weights, if it says anything. */
const packingOf = (config: Readonly<Record<string, unknown>>): unknown =>
  config[packingKeys[0]] ?? config[packingKeys[1]]

/** config.json without what it says of packing: what the graph is built from. */
export const withoutPacking = (config: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([key]) => !packingKeys.some((k) => k === key)))

/** Changes that take it out of a config.json, which is written plain whatever it was unpacked from. */
export const noPacking = Object.fromEntries(packingKeys.map((key) => [key, undefined]))

/** A checkpoint's tensors as the model has them, and what they were packed by. */
export interface Unpacked {
  tensors: ReadonlyMap<string, LocatedTensor>
  notice?: string
}

/**
 * The tensors of a checkpoint whose weights others may have packed: packed ones are unpacked once, into a file of the cache, in the type
 * that config.json says; those that aren't stay where they lie.
 *
 * @throws QUANTISED_CHECKPOINT for a way of packing that isn't read, BAD_PACKED_WEIGHTS for tensors that don't fit each other.
 */
export function unpack(
  file: string,
  tensors: ReadonlyMap<string, LocatedTensor>,
  config: Readonly<Record<string, unknown>>,
): Unpacked {
  const said = packingOf(config)
  if (said === undefined || said === null) return { tensors }
  const { about, packed, unread } = schemeOf(file, tensors, said)
  if (packed.length === 0)
    throw new GraftError(
      'BAD_PACKED_WEIGHTS',
      `${file}: config.json says that weights are packed (${about}), and none of the tensors is. Take quantization_config out of config.json if they are plain.`,
    )
  const dtype = typeOf(config)
  const kept = new Map(tensors)
  for (const name of packed.flatMap(({ parts }) => parts)) kept.delete(name)
  const made = keepFile(cacheFile(tensors, said, dtype), (put) => write(packed, dtype, file, put))
  for (const [name, tensor] of locateTensors(made).tensors) kept.set(name, tensor)
  const rest = unread.length > 0 ? ` Not read of quantization_config: ${unread.join(', ')}.` : ''
  const notice = `Unpacked from ${about}: ${packed.length} tensors, kept as ${dtype} in ${made}.${rest}`
  return { tensors: kept, notice }
}

function schemeOf(file: string, tensors: ReadonlyMap<string, LocatedTensor>, said: unknown) {
  if (!isObject(said))
    throw new GraftError(
      'BAD_MODEL_CONFIG',
      `${file}: config.json's quantization_config should be an object, got ${shown(said)}.`,
    )
  const method = String(
    said.quant_method ?? (said.load_in_4bit || said.load_in_8bit ? 'bitsandbytes' : 'some method'),
  )
  if (!Object.hasOwn(unpackers, method)) throw unknownPacking(file, method, Object.keys(unpackers).join(', '))
  const config = new Settings(said, file, {}, 'quantization_config.')
  const scheme = unpackers[method](new Stored(file, tensors), config)
  return {
    ...scheme,
    unread: config.unheeded(harmless).map(({ key }) => key.slice('quantization_config.'.length)),
  }
}
/** What tensors say themselves, and what is for rounding activations or for the tool's own work. */
const harmless = [
  ...[
    'quant_method',
    'sym',
    'zero_point',
    'modules_to_not_convert',
    'ignore',
    'activation_scheme',
    'scale_fmt',
  ],
  ...['kv_cache_scheme', 'quantization_status', 'global_compression_ratio', 'sparsity_config', 'version'],
  ...[
    'load_in_4bit',
    '_load_in_4bit',
    'input_activations',
    'output_activations',
    'targets',
    'backend',
    'fmt',
  ],
  ...['bnb_4bit_compute_dtype', 'bnb_4bit_quant_storage', 'bnb_4bit_use_double_quant', 'bnb_4bit_quant_type'],
  ...['llm_int8_enable_fp32_cpu_offload', 'llm_int8_has_fp16_weight', 'llm_int8_skip_modules'],
  ...[
    'llm_int8_threshold',
    'format',
    'damp_percent',
    'static_groups',
    'true_sequential',
    'quantizer',
    'meta',
  ],
]

/** How config.json says that weights are stored. */
export const typeOf = ({ dtype, torch_dtype }: Readonly<Record<string, unknown>>): Kept =>
  (({ float16: 'F16', bfloat16: 'BF16' }) as const)[String(dtype ?? torch_dtype)] ?? 'F32'

/** The same tensors give the same file: named by the bytes of the files they lie in. */
function cacheFile(tensors: ReadonlyMap<string, LocatedTensor>, said: unknown, dtype: Kept): string {
  const hash = createHash('sha256').update(`${version} ${dtype} ${JSON.stringify(said)}\n`)
  for (const file of new Set([...tensors.values()].map((t) => t.file))) hash.update(`${fileDigest(file)}\n`)
  return join(cacheFolder(), 'unpacked', `${hash.digest('hex').slice(0, 32)}.safetensors`)
}

/** Writes parameters as a safetensors file, each some rows at a time. */
export function write(
  packed: readonly Packed[],
  usual: Kept,
  file: string,
  put: (bytes: Uint8Array) => void,
): void {
  const entries = packed.map(({ name, shape, dtype = usual }) => ({
    name,
    dtype,
    shape,
    length: (dtype === 'F32' ? 4 : 2) * shape.reduce((a, b) => a * b, 1),
  }))
  put(safetensorsHeader(entries, { format: 'pt' }))
  for (const { name, dtype = usual, values } of packed)
    for (const numbers of values()) {
      requireKept(numbers, dtype, `${file}: ${name}`)
      const { buffer, byteOffset, byteLength } = encoders[dtype](numbers)
      put(new Uint8Array(buffer, byteOffset, byteLength))
    }
}
/** Throws BAD_PACKED_WEIGHTS for numbers that are none, or that float16 can't hold. */
function requireKept(numbers: Float32Array, dtype: Kept, what: string): void {
  const most = dtype === 'F16' ? 65504 : 3.38e38
  const bad = numbers.find((v) => !(Math.abs(v) <= most))
  if (bad !== undefined)
    throw new GraftError(
      'BAD_PACKED_WEIGHTS',
      `${what} unpacks to ${bad}, which ${dtype} does not hold. The file is damaged, or config.json's dtype should be float32.`,
    )
}
