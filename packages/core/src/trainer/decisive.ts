import { existsSync } from 'node:fs'
import { serialize } from 'node:v8'
import { fileDigest } from '../files/digest.js'
import { type Example } from '../data/example.js'
import type { TrainConfig } from '../config/config.js'

/** Where a run writes, what it tells and how it computes change nothing; model and files count by what they hold. */
const indifferent = new Set([
  // its weights count, not where they lie
  'adapter',
  'output',
  'plugins',
  'threads',
  'trackers',
  // named in training, with their options
  'optimizer',
  'schedule',
  'device',
  'memory',
  'model',
  'method',
])

const within: Readonly<Record<string, ReadonlySet<string>>> = {
  training: new Set(['save_every', 'steps_per_run']),
  data: new Set(['train', 'validation', 'test']),
}

/** All of a config that decides what comes of it, besides data, labels and model. */
export function decisive(config: TrainConfig): unknown {
  const kept = (object: object, without?: ReadonlySet<string>): [string, unknown][] =>
    Object.entries(object).filter(([key]) => !without?.has(key))
  const { validation } = config.data
  return [
    config.method.name,
    config.adapter?.digest,
    kept(config, indifferent).map(([key, v]) => [key, within[key] ? kept(v as object, within[key]) : v]),
    typeof validation === 'number' ? validation : 'a file',
  ]
}

/** All that training or scoring sees of an example. */
export function identity({ image, ...example }: Example): Buffer {
  const pixels = image && existsSync(image.file) ? fileDigest(image.file) : ''
  return Buffer.concat([serialize(example), Buffer.from(pixels)])
}
