import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Builder, Graph } from '@graft-peft/onnx'
import { GraftError, nearest } from '../errors.js'
import type { Architecture, Task } from './architecture.js'
import { Checkpoint, Imagined } from './checkpoint.js'
import { Settings } from './settings.js'
import { type Names, Weights } from './weights.js'

export interface BuildOptions {
  /** the head to build; the one that the folder's config.json names when left out */
  task?: Task
  /** classes of a classifier; those of config.json when left out */
  labels?: number
  cache?: boolean
  /** decides a new head's starting values */
  seed?: number
  /** Build from config.json alone, to plan with: the weights need not be there. */
  weightless?: boolean
}
export interface BuiltModel {
  graph: Graph
  /** the file that names the weights */
  file: string
  task: Task
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
  try {
    const config: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof config === 'object' && config !== null && !Array.isArray(config))
      return config as Record<string, unknown>
  } catch (cause) {
    throw new GraftError('BAD_MODEL_CONFIG', `${path}: not JSON (${(cause as Error).message}).`, { cause })
  }
  throw new GraftError('BAD_MODEL_CONFIG', `${path}: not a JSON object.`)
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
  const close = nearest(String(type), types)
  throw new GraftError(
    'UNKNOWN_ARCHITECTURE',
    `${join(folder, 'config.json')}: model_type ${JSON.stringify(type) ?? 'is missing, so it'} has no architecture here. ${close ? `Did you mean ${close}? ` : ''}Known: ${types.join(', ')}. ` +
      'An architecture is a plugin of one file (docs/write-an-architecture.md), named under plugins; or export the model to ONNX and give the .onnx file.',
  )
}

/** The task a folder's own head is for. */
export function taskOf(config: Record<string, unknown>, { tasks }: Architecture): Task {
  const name = String([config.architectures].flat()[0] ?? '')
  const task = tasksBySuffix.find(([suffix]) => suffix.test(name))?.[1]
  return task && tasks.includes(task) ? task : (tasks.find((t) => t === 'features') ?? tasks[0])
}

/** Builds the forward graph of a Hugging Face folder. Throws NO_TASK, and what reading config, weights and building throw. */
export function buildModel(
  folder: string,
  architectures: readonly Architecture[],
  { task, labels, cache = false, seed = 0, weightless = false }: BuildOptions = {},
): BuiltModel {
  const config = readModelConfig(folder)
  const architecture = architectureOf(folder, config, architectures)
  const source = weightless
    ? new Imagined(join(folder, 'config.json'), storedType(config))
    : Checkpoint.open(folder)
  const wanted = task ?? taskOf(config, architecture)
  if (!architecture.tasks.includes(wanted))
    throw new GraftError(
      'NO_TASK',
      `${folder}: a ${architecture.name} model can't be built for ${wanted}; it does ${architecture.tasks.join(', ')}. Choose another model, or another objective.`,
    )
  const g = new Builder(new Graph())
  const weights = new Weights(g, source, namesOf(architecture), seed)
  const settings = new Settings(config, join(folder, 'config.json'))
  const outputs = architecture.build({
    g,
    config: settings,
    weights,
    task: wanted,
    labels: labels ?? labelCount(config),
    cache,
  })
  g.graph.scope = ''
  for (const [name, value] of Object.entries(outputs)) {
    g.graph.rename(value, name)
    g.graph.outputs.push(value)
  }
  g.graph.prune()
  return { graph: g.graph, file: source.file, task: wanted }
}

/** A parameter may lie under its path in the model, under names that the architecture knows, and each with or without the bare model's prefix. */
function namesOf({ prefix, names }: Architecture): Names {
  const either = (name: string) =>
    prefix === ''
      ? [name]
      : name.startsWith(`${prefix}.`)
        ? [name, name.slice(prefix.length + 1)]
        : [name, `${prefix}.${name}`]
  return (parameter) => [parameter, ...(names?.(parameter) ?? [])].flatMap(either)
}

/** How config.json says that weights are stored. */
const storedType = ({ dtype, torch_dtype }: Record<string, unknown>) =>
  (({ float16: 'F16', bfloat16: 'BF16' }) as const)[String(dtype ?? torch_dtype)] ?? 'F32'

const labelCount = (config: Record<string, unknown>): number =>
  typeof config.id2label === 'object' && config.id2label !== null
    ? Object.keys(config.id2label).length
    : Number(config.num_labels ?? 2)
