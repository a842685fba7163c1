import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { readOnnx, type Value, writeAtomically, writeOnnx } from '@graft/onnx'
import { adapt, type Adapted } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { GraftError } from '../errors.js'
import type { AttachContext } from '../method/method.js'
import { outputs } from '../objective/objective.js'
import { Random } from '../method/random.js'
import { biasOf } from '../method/train-fully.js'
import type { Variables } from '../method/variables.js'
import type { Model } from '../model/model.js'
import type { WeightSlot } from '../model/site.js'
import { float32, type Tensors } from '../runtime/tensor.js'
import { runOnce, Session } from '../runtime/session.js'
import { type OpenedAdapter, parametersOf } from './open.js'

export interface MergeReport {
  /** the merged .onnx file */
  file: string
  /** parameters that changed */
  weights: number
  /** greatest difference of logits between the merged file and base with adapter, on random inputs */
  difference: number
}

/**
 * Folds an adapter into its base: writes a folder with a plain ONNX model, its config and its tokenizer.
 * Throws NOT_MERGEABLE for a method without a weight form, OUTPUT_EXISTS, and what opening throws.
 */
export async function merge(opened: OpenedAdapter, output: string): Promise<MergeReport> {
  const file = join(output, 'model.onnx')
  if (existsSync(file)) throw new GraftError('OUTPUT_EXISTS', `${file} exists already. Choose another output, or remove it.`)
  const { model: base, options } = opened
  const adapted = adapt(base, { ...options, training: false })
  const parameters = parametersOf(opened, adapted)
  const feeds = randomFeeds(base)
  const { weights, logits: expected } = await fold(adapted, opened.folder, (a) => deployedLogits(a.model, opened, a.variables.param), parameters, feeds)
  const merged = withWeights(base, weights)
  finish(merged.g, { logits: deployedLogits(merged, opened, asConstants(merged, adapted.variables, parameters)) })
  writeModel(merged, file, output, opened)
  const { logits: found } = await runOnce(readOnnx(file), feeds)
  return { file, weights: weights.size, difference: greatestDifference(found.data as Float32Array, expected) }
}

export interface Folded {
  /** changed parameters by slot, as the file stores them */
  weights: Map<string, Float32Array>
  /** what the adapted model makes of the feeds */
  logits: Float32Array
}
/** Computes what an adapter makes of the base's parameters. Throws NOT_MERGEABLE. `adapted` is used up. */
export async function fold(adapted: Adapted, where: string, logitsOf: (adapted: Adapted) => Value, parameters: Float32Array, feeds: Tensors): Promise<Folded> {
  const slots = changedSlots(adapted, where)
  const session = await Session.open(finish(adapted.model.g, { logits: logitsOf(adapted), ...slots }))
  try {
    const run = (own: Tensors, name: string) => session.run({ ...own, parameters: float32(parameters) }, { fetches: [name] }).then((o) => o[name].data as Float32Array)
    const logits = await run(feeds, 'logits')
    const weights = new Map<string, Float32Array>()
    for (const key of Object.keys(slots)) weights.set(key, await run(feeds, key))
    return { weights, logits }
  } finally {
    await session.close()
  }
}
/** A fork of the base with parameters replaced. */
export function withWeights(base: Model, weights: ReadonlyMap<string, Float32Array>): Model {
  const merged = base.fork()
  const byKey = new Map(slotsOf(merged).map((slot) => [slot.key, slot]))
  for (const [key, values] of weights) byKey.get(key)?.set(values)
  return merged
}

const slotsOf = (model: Model): WeightSlot[] => model.sites.flatMap((site) => [site.weight, biasOf(site)].filter((s) => s !== undefined))

/** Every parameter that adaptation changed, as stored in the file: what the method merges, and what is trained in full. */
function changedSlots({ model, adapter }: Adapted, where: string): Record<string, Value> {
  if (!adapter.merge)
    throw new GraftError(
      'NOT_MERGEABLE',
      `${where}: its method has no form in the weights (tokens or activations are inputs, not weights), so it can't be merged. Use the adapter beside its base.`,
    )
  const merged = adapter.merge().map(([slot, form]) => [slot.key, slot.asStored(form(slot.value))] as const)
  const trained = slotsOf(model)
    .filter((s) => !s.constant)
    .map((s) => [s.key, s.stored] as const)
  return Object.fromEntries([...trained, ...merged])
}

const deployedLogits = (model: Model, { options, labels }: OpenedAdapter, param: AttachContext['param']): Value =>
  options.objective.deploy?.({ model, g: model.g, param, labels: outputs(options.objective, labels), rows: 1 }) ?? model.logits

/** Declared variables as constants with the values they were trained to. */
const asConstants =
  ({ graph }: Model, variables: Variables, flat: Float32Array): AttachContext['param'] =>
  (name, { shape }) => {
    const variable = variables.list.find((v) => v.name === name)
    if (!variable) throw new GraftError('VARIABLE_MISSING', `Variable ${name} is not among the adapter's.`)
    const values = flat.slice(variable.offset, variable.offset + variable.size)
    return graph.addConstant(name, { dtype: 'float32', shape, data: { bytes: new Uint8Array(values.buffer) } })
  }

/** Two inputs of unequal length, or two images. */
function randomFeeds(model: Model): Tensors {
  const random = new Random(0, 'merge')
  const rows = model.embeddings[0]?.rows ?? 1
  const pixels = model.graph.inputs.find((v) => v.name === 'pixel_values')?.shape?.slice(1) as number[] | undefined
  const size = pixels?.reduce((a, b) => a * b, 1) ?? 0
  const examples = [11, 7].map((length) => ({
    ids: Array.from({ length }, () => random.below(rows)),
    pixels: Float32Array.from({ length: size }, () => random.normal()),
    decoderIds: Array.from({ length: length - 4 }, () => random.below(rows)),
  }))
  return modelFeeds(model.graph.inputs, batchOf(examples), 0)
}

const besides = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'generation_config.json', 'preprocessor_config.json']

function writeModel(merged: Model, file: string, output: string, { labels }: OpenedAdapter): void {
  mkdirSync(output, { recursive: true })
  for (const name of besides) if (existsSync(join(merged.folder, name))) copyFileSync(join(merged.folder, name), join(output, name))
  const names = labels.length > 0 ? { num_labels: labels.length, id2label: { ...labels }, label2id: Object.fromEntries(labels.map((l, i) => [l, i])) } : {}
  writeAtomically(join(output, 'config.json'), `${JSON.stringify({ ...merged.config, ...names }, null, 2)}\n`)
  writeOnnx(merged.graph, file)
}

function greatestDifference(a: Float32Array, b: Float32Array): number {
  return a.reduce((greatest, v, i) => Math.max(greatest, Math.abs(v - b[i])), 0)
}
