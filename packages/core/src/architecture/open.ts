import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Builder, Graph } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import type { Architecture, Task } from './architecture.js'
import { Checkpoint, Imagined } from './checkpoint.js'
import { newHeads, requireHeeded, unreadTensors } from './accounts.js'
import { readObject, shown } from '../files/json.js'
import { typeOf, withoutPacking } from './packed/unpack.js'
import { Settings } from './settings.js'
import { type Names, Weights } from './weights.js'

export interface BuildOptions {
  /** the head to build; the one that the folder's config.json names when left out */
  task?: Task
  /** classes of a classifier; those of config.json when left out */
  labels?: number
  cache?: boolean
  /**
   * rows of the token embedding, where there are to be more than config.json says: new ones start from the
   * mean of the old
   */
  vocabulary?: number
  /** decides a new head's starting values */
  seed?: number
  /** tensors of the adapter that comes on top: a head among them isn't new */
  brought?: readonly string[]
  /** Build from config.json alone, to plan with: the weights need not be there. */
  weightless?: boolean
}
export interface BuiltModel {
  graph: Graph
  /** the file that names the weights */
  file: string
  task: Task
  /** tokens in a text that it has positions for */
  positions: number
  /** what the checkpoint holds and the graph doesn't read, heads that are new */
  notices: string[]
}

/** Class names of transformers end in what the model is for. */
const tasksBySuffix: readonly [RegExp, Task][] = [
  [/ForCausalLM$|LMHeadModel$/, 'causal-lm'],
  [/ForMaskedLM$/, 'masked-lm'],
  [/ForConditionalGeneration$/, 'sequence-to-sequence'],
  [/ForSequenceClassification$/, 'sequence-classification'],
  [/ForTokenClassification$/, 'token-classification'],
  [/ForImageClassification$/, 'image-classification'],
]

export function readModelConfig(folder: string): Record<string, unknown> {
  const path = join(folder, 'config.json')
  if (!existsSync(path))
    throw new GraftError(
      'BAD_MODEL_CONFIG',
      `${folder}: config.json is missing. Give a folder as Hugging Face's save_pretrained writes it.`,
    )
  return readObject(path, 'BAD_MODEL_CONFIG')
}

/** The architecture that reads a config.json. Throws UNKNOWN_ARCHITECTURE naming the nearest and how to add one. */
export function architectureOf(
  folder: string,
  config: Record<string, unknown>,
  known: readonly Architecture[],
): Architecture {
  const type = config.model_type
  const found = known.find((a) => a.modelTypes.includes(String(type)))
  if (found) return found
  const types = known.flatMap((a) => a.modelTypes)
  // Types whose names are alike compute differently (llama and granite differ by factors alone): only the
  // spelling may be off.
  const spelt = types.find((known) => plain(known) === plain(String(type)))
  throw new GraftError(
    'UNKNOWN_ARCHITECTURE',
    `${join(folder, 'config.json')}: model_type ${type === undefined ? 'is missing, so it' : shown(type)} has no architecture here. ${spelt ? `Did you mean ${spelt}? ` : ''}Known: ${types.join(', ')}. ` +
      'An architecture is a plugin of one file (docs/write-an-architecture.md), named under plugins; or export the model to ONNX and give the .onnx file.',
  )
}
const plain = (type: string): string => type.toLowerCase().replace(/[^a-z0-9]/g, '')

/** The task a folder's own head is for. */
export function taskOf(config: Record<string, unknown>, { tasks }: Architecture): Task {
  const name = String([config.architectures].flat()[0] ?? '')
  const task = tasksBySuffix.find(([suffix]) => suffix.test(name))?.[1]
  return task && tasks.includes(task) ? task : (tasks.find((t) => t === 'features') ?? tasks[0])
}

/**
 * Builds the forward graph of a Hugging Face folder. Throws NO_TASK, and what reading config, weights and
 * building throw.
 */
export function buildModel(
  folder: string,
  architectures: readonly Architecture[],
  { task, labels, cache = false, vocabulary, seed = 0, weightless = false, brought = [] }: BuildOptions = {},
): BuiltModel {
  const file = join(folder, 'config.json')
  const own = readModelConfig(folder)
  const plain = withoutPacking(own)
  const config = vocabulary === undefined ? plain : { ...plain, vocab_size: vocabulary }
  const architecture = architectureOf(folder, config, architectures)
  const source = weightless ? new Imagined(file, typeOf(config)) : Checkpoint.open(folder, own)
  const wanted = task ?? taskOf(config, architecture)
  if (!architecture.tasks.includes(wanted))
    throw new GraftError(
      'NO_TASK',
      `${folder}: a ${architecture.name} model can't be built for ${wanted}; it does ${architecture.tasks.join(', ')}. Choose another model, or another objective.`,
    )
  const g = new Builder(new Graph())
  const weights = new Weights(g, source, namesOf(architecture), seed, vocabulary)
  const settings = settingsOf(folder, config, architecture)
  const outputs = architecture.build({
    g,
    config: settings,
    weights,
    task: wanted,
    labels: labels ?? labelCount(config),
    cache,
  })
  requireHeeded(settings, architecture)
  const told = source.notice ? [source.notice] : []
  const notices = [
    ...told,
    ...unreadTensors(weights, source, architecture, wanted),
    ...newHeads(weights, brought),
  ]
  for (const [name, value] of Object.entries(outputs)) {
    g.graph.rename(value, name)
    g.graph.outputs.push(value)
  }
  g.graph.prune()
  return {
    graph: g.graph,
    file: source.file,
    task: wanted,
    positions: positionsOf(folder, config, architectures),
    notices,
  }
}

/** A folder's config.json, with the defaults of transformers' class. */
const settingsOf = (folder: string, config: Record<string, unknown>, { defaults }: Architecture): Settings =>
  new Settings(config, join(folder, 'config.json'), defaults?.[String(config.model_type)])

/** Tokens that a model has positions for: its architecture's word, else config.json's. */
export function positionsOf(
  folder: string,
  config: Record<string, unknown>,
  architectures: readonly Architecture[],
): number {
  const architecture = architectures.find((a) => a.modelTypes.includes(String(config.model_type)))
  if (architecture?.positions)
    return architecture.positions(settingsOf(folder, config, architecture)) ?? Number.POSITIVE_INFINITY
  return Number(config.max_position_embeddings ?? config.n_positions ?? Number.POSITIVE_INFINITY)
}

/**
 * A parameter may lie under its path in the model, under names that the architecture knows, and each with or
 * without the bare model's prefix.
 */
function namesOf({ prefix, names }: Architecture): Names {
  const either = (name: string) =>
    prefix === ''
      ? [name]
      : name.startsWith(`${prefix}.`)
        ? [name, name.slice(prefix.length + 1)]
        : [name, `${prefix}.${name}`]
  return (parameter) => [parameter, ...(names?.(parameter) ?? [])].flatMap(either)
}

const labelCount = (config: Record<string, unknown>): number =>
  typeof config.id2label === 'object' && config.id2label !== null
    ? Object.keys(config.id2label).length
    : Number(config.num_labels ?? 2)
