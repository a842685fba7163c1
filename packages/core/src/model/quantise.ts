import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { outputOf } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { cacheFolder } from '../files/cache.js'
import { fileDigest } from '../files/digest.js'
import { keepFile } from '../files/kept.js'
import type { Model } from './model.js'
import type { LinearSite } from './site.js'

/** How a frozen base can be kept: in blocks of 4 bits (QLoRA; Dettmers et al., 2023, arXiv 2305.14314). */
export const quantisations = ['int4'] as const
/** How the frozen base is kept in fewer bits. */
export type Quantisation = (typeof quantisations)[number]

/** Weights in a block that share a scale. */
const block = 32

/** Where the packed weights of a layer lie in the file of all. */
interface Place {
  site: LinearSite
  packed: { offset: number; length: number }
  scales: { offset: number; length: number }
}

/**
 * Replaces the frozen weights of linear layers, but for the output layer, by blocks of 4 bits: a product that reads them as they are
 * forward, dequantised block by block backward. They are packed once into a file of the cache, which is mapped; a `weightless` model has
 * nothing to pack, and is only to be planned with.
 */
export function quantise(model: Model, weightless = false): void {
  const able = model.linears.filter(
    (s) => s.path !== model.outputEmbedding?.path && s.weight.constant && s.inFeatures % block === 0,
  )
  // Heads, which are trained in full, stand outside the numbered layers.
  const inLayers = able.filter((s) => /(^|\.)\d+\./.test(s.path))
  const sites = inLayers.length > 0 ? inLayers : able
  if (sites.length === 0)
    throw new GraftError(
      'NOTHING_TO_QUANTISE',
      `${model.file}: no frozen linear layer of floats whose width is a multiple of ${block}; quantize: int4 has nothing to do.`,
    )
  const { places, total } = layOut(sites)
  const cached = cacheFile(model, total)
  const file = weightless ? cached : keepFile(cached, (put) => pack(places, put))
  for (const place of places) replace(model, place, file)
  model.graph.prune()
}

function layOut(sites: readonly LinearSite[]): { places: Place[]; total: number } {
  let offset = 0
  const take = (length: number) => {
    const at = offset
    offset += length
    return { offset: at, length }
  }
  const places = sites.map((site) => {
    const count = site.outFeatures * site.inFeatures
    return { site, packed: take(count / 2), scales: take((count / block) * 4) }
  })
  return { places, total: offset }
}

/** The same weights give the same file: named by the bytes of the files they lie in, and where in them. */
function cacheFile({ file, linears }: Model, total: number): string {
  const hash = createHash('sha256').update(`int4/${block}/${total}\n`)
  const data = linears.flatMap(({ weight }) =>
    weight.constant && 'file' in weight.constant.data ? [weight.constant.data] : [],
  )
  for (const path of new Set([file, ...data.map((d) => d.file)])) hash.update(`${fileDigest(path)}\n`)
  for (const { offset } of data) hash.update(`${offset} `)
  return join(cacheFolder(), 'int4', `${hash.digest('hex').slice(0, 32)}.bin`)
}

function pack(places: readonly Place[], put: (bytes: Uint8Array) => void): void {
  for (const { site } of places) {
    const { packed, scales } = packBlocks(weights(site))
    put(packed)
    put(new Uint8Array(scales.buffer))
  }
}
/** [out, in], as torch holds it. */
function weights({ weight, outFeatures, inFeatures }: LinearSite): Float32Array {
  const stored = weight.reader()() as Float32Array
  if (!weight.transposed) return stored
  const turned = new Float32Array(stored.length)
  for (let i = 0; i < inFeatures; i++)
    for (let o = 0; o < outFeatures; o++) turned[o * inFeatures + i] = stored[i * outFeatures + o]
  return turned
}

/** Blocks of 4-bit numbers q, low half of a byte first, and a scale s each: w ≈ (q − 8)·s, where the number furthest from zero becomes −8·s. */
export function packBlocks(values: Float32Array): { packed: Uint8Array; scales: Float32Array } {
  const packed = new Uint8Array(values.length / 2)
  const scales = new Float32Array(values.length / block)
  for (let b = 0; b < scales.length; b++) {
    const start = b * block
    let furthest = 0
    for (let i = start; i < start + block; i++)
      if (Math.abs(values[i]) > Math.abs(furthest)) furthest = values[i]
    scales[b] = furthest / -8
    const inverse = furthest === 0 ? 0 : 1 / scales[b]
    for (let i = start; i < start + block; i++) {
      const q = Math.min(15, Math.max(0, Math.round(values[i] * inverse) + 8))
      packed[i >> 1] |= q << (4 * (i & 1))
    }
  }
  return { packed, scales }
}

function replace({ g, graph }: Model, { site, packed, scales }: Place, file: string): void {
  const { outFeatures: n, inFeatures: k, path, node } = site
  const bytes = graph.addConstant(`${path}.weight_int4`, {
    dtype: 'uint8',
    shape: [n, k / block, block / 2],
    data: { file, ...packed },
  })
  const factors = graph.addConstant(`${path}.weight_scales`, {
    dtype: 'float32',
    shape: [n, k / block],
    data: { file, ...scales },
  })
  const bias = node.op === 'Gemm' ? node.inputs[2] : undefined
  const result = graph.within(node.scope, () => {
    const inputs = [site.input.value, bytes, factors]
    const product = g.op('com.microsoft::MatMulNBits', inputs, { K: k, N: n, bits: 4, block_size: block })
    return bias ? g.add(product, bias) : product
  })
  graph.replaceUses(outputOf(node), result)
  graph.removeNode(node)
}
