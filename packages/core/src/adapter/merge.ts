import { greatestDifference } from '../numbers/differences.js'
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type DType, shapeOf, type Value, writeOnnx } from '@graft-peft/onnx'
import type { Untied } from '../architecture/architecture.js'
import { architectureOf } from '../architecture/open.js'
import { Settings } from '../architecture/settings.js'
import { adapt } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import type { Registry } from '../container.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { GraftError } from '../errors.js'
import type { AttachContext } from '../method/method.js'
import { Random } from '../numbers/random.js'
import type { Variables } from '../method/variables.js'
import { type OpenOptions } from '../model/open.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { QuantisedSlot } from '../model/site.js'
import { classCount, inputOf } from '../objective/objective.js'
import type { Tensors } from '../runtime/tensor.js'
import { runOnce } from '../runtime/session.js'
import { fold, withWeights } from './fold.js'
import { browserSettings, sayFirstToken } from './for-browsers.js'
import { type OpenedAdapter, parametersOf } from './open.js'
import { staged } from './staged.js'
import { copyBesides } from './besides.js'
import { writeCheckpoint, writeConfig } from './write-checkpoint.js'
import { makeFolder } from '../files/folders.js'

/** A Hugging Face folder, or an ONNX model. */
export type MergeFormat = 'safetensors' | 'onnx'
/** What merging wrote. */
export interface MergeReport {
  /** the merged model's weights */
  file: string
  format: MergeFormat
  /** parameters that changed */
  weights: number
  /** greatest difference of logits between the merged file and base with adapter, on random inputs */
  difference: number
}

/**
 * Folds an adapter into its base and writes a plain model: a Hugging Face folder where the base is one, else
 * ONNX; a language model's ONNX has a key-value cache, in the layout that transformers.js loads. The result
 * is read back and compared.
 *
 * @throws NOT_MERGEABLE for a method without a weight form, MERGE_DIFFERS where they don't agree,
 * NO_CHECKPOINT_BASE for safetensors of a base that is an ONNX file, OUTPUT_EXISTS, and what opening throws; nothing
 * is then left on disk.
 */
export async function merge(
  opened: OpenedAdapter,
  output: string,
  registry: Registry,
  wanted?: MergeFormat,
): Promise<MergeReport> {
  const { model: base, options } = opened
  refuseQuantised(base)
  const format = wanted ?? (base.task ? 'safetensors' : 'onnx')
  if (format === 'safetensors' && !base.task)
    throw new GraftError(
      'NO_CHECKPOINT_BASE',
      `${base.file} is an ONNX file, which can be merged to ONNX only. For safetensors give the Hugging Face folder with --model.`,
    )
  const file = join(output, format === 'safetensors' ? 'model.safetensors' : onnxFile(base, wanted))
  if (existsSync(file))
    throw new GraftError('OUTPUT_EXISTS', `${file} exists already. Choose another output, or remove it.`)
  const adapted = adapt(base, { ...options, training: false })
  const parameters = parametersOf(opened, adapted)
  const feeds = randomFeeds(base)
  const { weights, logits } = await fold(
    adapted,
    opened.folder,
    // A folder is opened for the same task again; what else an objective makes of its outputs goes into an ONNX graph alone.
    (a) => (format === 'safetensors' ? a.model.logits : deployedLogits(a.model, opened, a.variables.param)),
    parameters,
    feeds,
  )
  const open: OpenOptions = {
    architectures: registry.all('architecture'),
    task: base.task,
    labels: classCount(options.objective, opened.labels),
  }
  const { difference } = await staged(output, async (folder) => {
    const written = join(folder, relative(output, file))
    if (format === 'safetensors')
      writeCheckpoint(base, weights, folder, opened.labels, untiedBy(base, registry))
    else writeGraph(opened, weights, written, folder, open, asConstants(adapted.variables, parameters))
    const model = openModel(format === 'safetensors' ? folder : written, open)
    const found = await runOnce(model.graph, withEmptyCache(model, feeds))
    const name = base.task === 'features' && format === 'onnx' ? resultOf(base) : model.logits.name
    return checked(base, logits, found[name].data as Float32Array, format)
  })
  return { file, format, weights: weights.size, difference }
}

/** Where pipelines look for a model's graph, beside its config.json; an ONNX file that is merged as it came stays a file. */
const onnxFile = (base: Model, wanted: MergeFormat | undefined): string =>
  base.task || (wanted && Object.keys(base.config).length > 0) ? 'onnx/model.onnx' : 'model.onnx'

/** What rounding merged weights to the type they are stored in may change, of the greatest logit. */
const rounding: Partial<Record<DType, number>> = { float32: 1e-3, float16: 2e-2, bfloat16: 1e-1 }

function checked(
  base: Model,
  wanted: Float32Array,
  found: Float32Array,
  format: MergeFormat,
): { difference: number } {
  const difference = greatestDifference(found, wanted)
  const stored = base.linears.map(({ weight }) => weight.constant?.dtype ?? 'float32')
  const share = Math.max(
    ...(format === 'onnx' ? ['float32' as const] : stored).map((t) => rounding[t] ?? 1e-3),
  )
  const greatest = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 1)
  if (difference <= share * greatest) return { difference }
  throw new GraftError(
    'MERGE_DIFFERS',
    `${base.file}: the merged model's outputs differ by ${difference.toPrecision(2)} from base with adapter, whose greatest is ${greatest.toPrecision(2)}: its files can't say what the adapter does. Nothing was written. Use the adapter beside its base${format === 'safetensors' ? ', or merge with --format onnx' : ''}.`,
  )
}

/** What taking output layer and embedding apart means for the base's architecture. */
function untiedBy(base: Model, registry: Registry): Untied | undefined {
  const architecture = architectureOf(base.folder, base.config, registry.all('architecture'))
  return architecture.untied?.(new Settings(base.config, join(base.folder, 'config.json')))
}

/** Weights of a few bits can't take an update without being rounded anew: merging goes through the original. */
function refuseQuantised(base: Model): void {
  if (base.linears.some((s) => s.weight instanceof QuantisedSlot))
    throw new GraftError(
      'QUANTISED_BASE',
      `${base.file}: the weights of the base are kept in 4 bits, which can't hold an adapter's update. Name the full-precision original with --model, and quantise what comes out.`,
    )
}

const grownLike = ({ addedTokens: tokens, tokenEmbedding }: Model): OpenOptions =>
  tokens.length > 0 ? { tokens, vocabulary: tokenEmbedding?.rows } : {}

type Constants = (model: Model) => AttachContext['param']

/** Writes the merged graph with its config and tokenizer; a language model built here is built again with a cache. */
function writeGraph(
  opened: OpenedAdapter,
  weights: ReadonlyMap<string, Float32Array>,
  file: string,
  output: string,
  open: OpenOptions,
  constants: Constants,
): void {
  const { model: base, labels } = opened
  const cached = base.task === 'causal-lm'
  const merged = withWeights(
    cached ? openModel(base.folder, { ...open, ...grownLike(base), cache: true }) : base,
    weights,
  )
  if (!cached) countPositions(merged)
  if (!cached) {
    const made = { [resultOf(merged)]: deployedLogits(merged, opened, constants(merged)) }
    finish(merged.g, base.task === 'features' ? { last_hidden_state: merged.logits, ...made } : made)
  }
  makeFolder(join(file, '..'))
  copyBesides(base, output)
  const outside = writeOnnx(merged.graph, file)
  writeConfig(base, output, labels, browserSettings(file, outside))
  if (cached) sayFirstToken(output)
}

/** The name that pipelines know a graph's result by: hidden states of texts go with the vectors made of them. */
function resultOf({ task, graph }: Model): string {
  if (task !== 'features') return 'logits'
  return graph.inputs.some((v) => v.name === 'pixel_values') ? 'image_embeds' : 'sentence_embedding'
}

/** Pipelines that feed a classifier give it no positions: it counts them itself. */
function countPositions({ g, graph }: Model): void {
  const [ids, positions] = ['input_ids', 'position_ids'].map((name) =>
    graph.inputs.find((v) => v.name === name),
  )
  if (!ids || !positions) return
  const length = g.op('Shape', [ids], { start: 1, end: 2 })
  graph.replaceUses(positions, g.expand(g.unsqueeze(g.range(g.squeeze(length, [0])), [0]), shapeOf(ids)))
  graph.inputs.splice(graph.inputs.indexOf(positions), 1)
}

const deployedLogits = (
  model: Model,
  { options, labels }: OpenedAdapter,
  param: AttachContext['param'],
): Value =>
  options.objective.deploy?.({
    model,
    g: model.g,
    param,
    input: inputOf(model.g),
    labels: classCount(options.objective, labels),
    expectedRows: 1,
  }) ?? model.logits

/** Declared variables as constants with the values they were trained to. */
const asConstants =
  (variables: Variables, flat: Float32Array): Constants =>
  ({ graph }) =>
  (name, { shape }) => {
    const variable = variables.list.find((v) => v.name === name)
    if (!variable) throw new GraftError('VARIABLE_MISSING', `Variable ${name} is not among the adapter's.`)
    const values = flat.slice(variable.offset, variable.offset + variable.size)
    return graph.addConstant(name, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(values.buffer) },
    })
  }

/** Two inputs of unequal length, or two images. */
export function randomFeeds(model: Model): Tensors {
  const random = new Random(0, 'merge')
  const rows = (model.tokenEmbedding ?? model.embeddings[0])?.rows ?? 1
  const pixels = model.graph.inputs.find((v) => v.name === 'pixel_values')?.shape?.slice(1) as
    | number[]
    | undefined
  const size = pixels?.reduce((a, b) => a * b, 1) ?? 0
  const examples = [11, 7].map((length) => ({
    ids: Array.from({ length }, () => random.below(rows)),
    pixels: Float32Array.from({ length: size }, () => random.normal()),
    decoderIds: Array.from({ length: length - 4 }, () => random.below(rows)),
  }))
  return modelFeeds(model.graph.inputs, batchOf(examples), 0)
}

/** Feeds for a model that wants past keys and values: none. */
export function withEmptyCache({ graph }: Model, feeds: Tensors): Tensors {
  const batch = Object.values(feeds)[0].shape[0]
  const past = graph.inputs.filter((v) => v.name.startsWith('past_key_values.'))
  const empty = past.map(({ name, shape }) => [
    name,
    {
      dtype: 'float32' as const,
      shape: [batch, Number(shape?.[1]), 0, Number(shape?.[3])],
      data: new Float32Array(0),
    },
  ])
  return { ...feeds, ...Object.fromEntries(empty) }
}
