import {
  fileKey,
  floatsOf,
  type LowRankForm,
  moduleKey,
  type StoredTensor,
  storedFloats,
} from '@graft-peft/core'
import { Matrix } from 'ml-matrix'
import type { LoraOptions } from './options.js'
import { rankAndScale } from './rank.js'

const suffix = '.lora_A.weight'

/** LoRA's files as low-rank updates, scaled as their config says, and updates as such files with a scale of one. */
export const lowRank: LowRankForm = {
  read(tensors, given) {
    const options = given as unknown as LoraOptions
    const downs = [...tensors.keys()].filter((key) => key.endsWith(suffix))
    const known = new Set(downs.flatMap((key) => [key, key.replace(suffix, '.lora_B.weight')]))
    const own = [...tensors.keys()].filter((key) => /\.lora_|\.base_layer\./.test(key))
    if (
      options.use_dora ||
      options.use_bdlora ||
      own.some((key) => !known.has(key) || tensors.get(key)?.shape.length !== 2)
    )
      return undefined
    return downs.map((key) => {
      const path = key.slice(moduleKey('').length, -suffix.length)
      const [down, up] = [key, key.replace(suffix, '.lora_B.weight')].map((k) =>
        matrixOf(tensors.get(k) as StoredTensor, k),
      )
      return { path, down, up: up.mul(rankAndScale(path, options).scale) }
    })
  },
  write(updates) {
    const ranks = Object.fromEntries(updates.map(({ path, down }) => [path, down.rows]))
    const tensors = updates.flatMap(({ path, down, up }): [string, StoredTensor][] => [
      [fileKey({ name: `${path}${suffix}` }), stored(down)],
      [fileKey({ name: `${path}.lora_B.weight` }), stored(up)],
    ])
    const r = Math.max(...Object.values(ranks))
    const pattern = Object.values(ranks).every((rank) => rank === r) ? {} : ranks
    return {
      tensors: new Map(tensors),
      options: {
        r,
        lora_alpha: r,
        rank_pattern: pattern,
        alpha_pattern: pattern,
        target_modules: Object.keys(ranks),
        use_rslora: false,
      },
    }
  },
}

function matrixOf(tensor: StoredTensor, name: string): Matrix {
  return Matrix.from1DArray(tensor.shape[0], tensor.shape[1], Array.from(floatsOf(tensor, name)))
}
const stored = (m: Matrix): StoredTensor =>
  storedFloats(Float32Array.from(m.to1DArray()), [m.rows, m.columns])
