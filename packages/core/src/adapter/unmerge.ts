import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeOnnx } from '@graft-peft/onnx'
import { adapt } from '../compile/adapt.js'
import { GraftError } from '../errors.js'
import { transpose } from '../numbers/initialise.js'
import { copyOf } from '../method/variables.js'
import { Random } from '../numbers/random.js'
import type { Model } from '../model/model.js'
import { isTrainedInFull } from './dense.js'
import { fold, type NamedSlot, parametersIn, withWeights } from './fold.js'
import { randomFeeds } from './merge.js'
import { type OpenedAdapter, parametersOf } from './open.js'
import { copyBesides } from './besides.js'
import { writeCheckpoint, writeConfig } from './write-checkpoint.js'
import { makeFolder } from '../files/folders.js'

/** What taking an adapter out of weights wrote. */
export interface UnmergeReport {
  file: string
  weights: number
  /** modules trained in full, which stay as the adapter has them */
  kept: string[]
  /** greatest number taken off a weight; what rounding can leave is about a ten-millionth of it */
  greatest: number
}

/**
 * Takes an adapter off the model it was merged into, by subtraction. `opened` is the adapter on the merged
 * model.
 *
 * @throws NOT_MERGEABLE, NOT_EXACT for a method that does more than add, OUTPUT_EXISTS.
 */
export async function unmerge(opened: OpenedAdapter, output: string): Promise<UnmergeReport> {
  const { model: merged, options, folder } = opened
  const file = join(output, merged.task ? 'model.safetensors' : 'model.onnx')
  if (existsSync(file))
    throw new GraftError('OUTPUT_EXISTS', `${file} exists already. Choose another output, or remove it.`)
  const changes = async (base: Model) => {
    const adapted = adapt(base, { ...options, training: false })
    return (
      await fold(adapted, folder, (a) => a.model.logits, parametersOf(opened, adapted), randomFeeds(base))
    ).weights
  }
  const onMerged = await changes(merged)
  const slots = new Map(parametersIn(merged).map((p) => [p.slot.key, p]))
  const before = (key: string): Float32Array => stored(slots.get(key) as NamedSlot)
  const onZero = await changes(
    withWeights(
      merged,
      new Map([...onMerged.keys()].map((key) => [key, new Float32Array(before(key).length)])),
    ),
  )
  const restored = new Map<string, Float32Array>()
  let greatest = 0
  for (const [key, values] of onMerged) {
    // What was trained in full replaced what was there, which nothing in the adapter tells.
    if (isTrainedInFull(opened, (slots.get(key) as NamedSlot).site.path)) continue
    const own = before(key)
    const added = onZero.get(key) as Float32Array
    for (let i = 0; i < own.length; i++) {
      if (Math.abs(values[i] - own[i] - added[i]) > 1e-5 * Math.max(1e-3, Math.abs(values[i])))
        throw notExact(folder, slots.get(key)?.name ?? key, options.method.name)
      greatest = Math.max(greatest, Math.abs(added[i]))
    }
    restored.set(
      key,
      own.map((v, i) => v - added[i]),
    )
  }
  write(merged, restored, file, output)
  const kept = [
    ...new Set(
      [...onMerged.keys()]
        .filter((key) => !restored.has(key))
        .map((key) => (slots.get(key) as NamedSlot).site.path),
    ),
  ]
  return { file, weights: restored.size, kept, greatest }
}

function stored({ slot }: NamedSlot): Float32Array {
  const own = copyOf(slot)(slot.shape, new Random(0))
  return slot.transposed ? transpose(own, slot.shape[0], slot.shape[1]) : own
}
const notExact = (folder: string, name: string, method: string) =>
  new GraftError(
    'NOT_EXACT',
    `${folder}: ${method} does more to ${name} than add to it, so the base can't be had back by subtraction. Keep the base model beside the adapter.`,
  )

function write(
  merged: Model,
  restored: ReadonlyMap<string, Float32Array>,
  file: string,
  output: string,
): void {
  if (merged.task) return void writeCheckpoint(merged, restored, output, [])
  makeFolder(output)
  copyBesides(merged, output)
  writeConfig(merged, output, [])
  writeOnnx(withWeights(merged, restored).graph, file)
}
