import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LineCounter, isMap, isNode, isScalar, parse, parseDocument, type Document } from 'yaml'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'
import { loadPlugins } from '../plugins/load.js'
import { type PullOptions, resolveModel } from '../hub/pull.js'
import type { PeftMethod } from '../method/method.js'
import { type Complaint, validate } from '../method/options.js'
import { type Quantisation, quantisations } from '../model/quantise.js'
import { type MemoryMode, memoryModes } from '@graft/onnx'
import type { OptimizerOptions } from '../optimizer/optimizer.js'
import type { ScheduleOptions } from '../optimizer/schedule.js'
import { type Device, devices } from '../runtime/session.js'

export interface TrainingOptions extends ScheduleOptions, Omit<OptimizerOptions, 'name'> {
  epochs: number
  max_steps: number | null
  batch_size: number
  gradient_accumulation: number
  optimizer: 'adamw' | 'sgd'
  max_grad_norm: number
  /** steps between evaluations; null: after each epoch */
  eval_every: number | null
  /** steps between checkpoints */
  save_every: number
  /** evaluations without improvement before training stops; null: never */
  early_stopping: number | null
}
export interface DataOptions {
  train: string
  /** a file, or a share of the training file held out */
  validation: string | number
  test: string | null
  columns: Record<string, string>
  max_length: number | null
  train_on_prompt: boolean
  /** several texts in a row, for language modelling */
  packing: boolean
}
export interface TrainConfig {
  model: string
  /** packages or paths that bring methods and objectives */
  plugins: readonly string[]
  data: DataOptions
  objective: string | null
  /** decides which checkpoint is the best; the objective's own when left out */
  metric: string | null
  method: PeftMethod
  methodOptions: Record<string, unknown>
  training: TrainingOptions
  output: string
  seed: number
  device: Device
  threads: number | null
  /** keep the frozen base in fewer bits */
  quantize: Quantisation | null
  /** what the backward pass keeps: everything, what is dear to compute again, little */
  memory: MemoryMode
}

const text = { type: 'string', minLength: 1 } as const
const nullable = (schema: object) => ({ anyOf: [schema, { type: 'null' }], default: null })
const count = { type: 'integer', minimum: 1 } as const
const share = { type: 'number', minimum: 0, exclusiveMaximum: 1 } as const
const object = (properties: object, required: string[] = []) => ({ type: 'object', additionalProperties: false, properties, required, default: {} })

export const configSchema = object(
  {
    model: text,
    plugins: { type: 'array', items: text, default: [] },
    method: { anyOf: [text, { type: 'object', properties: { name: text }, required: ['name'] }] },
    objective: nullable(text),
    metric: nullable(text),
    data: object(
      {
        train: text,
        validation: { anyOf: [text, share], default: 0.1 },
        test: nullable(text),
        columns: { type: 'object', additionalProperties: text, default: {} },
        max_length: nullable({ type: 'integer', minimum: 2 }),
        train_on_prompt: { type: 'boolean', default: false },
        packing: { type: 'boolean', default: false },
      },
      ['train'],
    ),
    training: object({
      epochs: { ...count, default: 3 },
      max_steps: nullable(count),
      batch_size: { ...count, default: 8 },
      gradient_accumulation: { ...count, default: 1 },
      learning_rate: { type: 'number', exclusiveMinimum: 0, default: 1e-3 },
      schedule: { enum: ['constant', 'linear', 'cosine'], default: 'cosine' },
      warmup_steps: { type: 'integer', minimum: 0, default: 0 },
      optimizer: { enum: ['adamw', 'sgd'], default: 'adamw' },
      weight_decay: { type: 'number', minimum: 0, default: 0 },
      betas: { type: 'array', items: share, minItems: 2, maxItems: 2, default: [0.9, 0.999] },
      epsilon: { type: 'number', exclusiveMinimum: 0, default: 1e-8 },
      momentum: { ...share, default: 0 },
      max_grad_norm: { type: 'number', minimum: 0, default: 1 },
      eval_every: nullable(count),
      save_every: { ...count, default: 100 },
      early_stopping: nullable(count),
    }),
    output: { ...text, default: 'out' },
    seed: { type: 'integer', default: 0 },
    device: { enum: [...devices], default: 'auto' },
    threads: nullable(count),
    quantize: { enum: [...quantisations, null], default: null },
    memory: { enum: [...memoryModes], default: 'balanced' },
  },
  ['model', 'method', 'data'],
)

/** Reads a YAML training config and imports the plugins it names; `overrides` are key=value pairs with dotted keys.
 *  Throws CONFIG_NOT_FOUND, BAD_YAML or BAD_CONFIG with file, line and column of each fault, and what loading plugins throws. */
export async function loadConfig(path: string, registry: Registry, overrides: readonly string[] = [], hub: PullOptions = {}): Promise<TrainConfig> {
  if (!existsSync(path)) throw new GraftError('CONFIG_NOT_FOUND', `${path}: no such config file.`)
  const source = new Source(path)
  for (const override of overrides) source.override(override)
  const raw = source.check<RawConfig>(configSchema, source.document.toJS() ?? {}, [])
  await loadPlugins(raw.plugins, dirname(path), registry)
  const { name, ...given } = typeof raw.method === 'string' ? { name: raw.method } : raw.method
  const method = registry.get('method', name)
  const methodOptions = source.check<Record<string, unknown>>(method.configSchema, given, ['method'])
  const near = (p: string) => resolve(dirname(path), p)
  const { data } = raw
  return {
    ...raw,
    method,
    methodOptions,
    model: existsSync(near(raw.model)) ? near(raw.model) : await resolveModel(raw.model, hub),
    output: near(raw.output),
    data: { ...data, train: near(data.train), validation: typeof data.validation === 'string' ? near(data.validation) : data.validation, test: data.test && near(data.test) },
  }
}
type RawConfig = Omit<TrainConfig, 'method' | 'methodOptions'> & { method: string | { name: string } }

/** A YAML file that knows where each of its keys stands. */
class Source {
  readonly document: Document
  private readonly lines = new LineCounter()
  private readonly overridden = new Map<string, string>()

  constructor(private readonly path: string) {
    this.document = parseDocument(readFileSync(path, 'utf8'), { lineCounter: this.lines })
    const [error] = this.document.errors
    if (error) throw new GraftError('BAD_YAML', `${path}: ${error.message}`)
  }

  override(text: string): void {
    const [, key, value] = text.match(/^([\w.-]+)=(.*)$/s) ?? []
    if (!key) throw new GraftError('BAD_OVERRIDE', `Override "${text}" is not key=value, as in training.epochs=5.`)
    const path = key.split('.')
    const parent = path.slice(0, -1)
    if (parent.length > 0 && isScalar(this.document.getIn(parent, true))) this.document.setIn(parent, this.document.createNode({ name: this.document.getIn(parent) }))
    this.document.setIn(path, parse(value))
    this.overridden.set(key, text)
  }

  check<T>(schema: object, value: unknown, prefix: readonly string[]): T {
    const result = validate<T>(schema, value)
    if ('value' in result) return result.value
    const faults = result.complaints.map((c) => `${this.position([...prefix, ...c.path], c)} ${[...prefix, ...c.path].join('.') || 'the config'}: ${c.message}.`)
    throw new GraftError('BAD_CONFIG', [...new Set(faults)].slice(0, 5).join('\n'))
  }

  private position(path: readonly string[], { key }: Complaint): string {
    const override = this.overridden.get(path.join('.'))
    if (override) return `override ${override}:`
    const offset = (key ? this.keyOffset(path) : undefined) ?? this.valueOffset(path)
    const { line, col } = this.lines.linePos(offset)
    return `${this.path}:${line}:${col}:`
  }
  private valueOffset(path: readonly string[]): number {
    for (let depth = path.length; depth >= 0; depth--) {
      const node = depth === 0 ? this.document.contents : this.document.getIn(path.slice(0, depth), true)
      if (isNode(node) && node.range) return node.range[0]
    }
    return 0
  }
  private keyOffset(path: readonly string[]): number | undefined {
    const parent = path.length > 1 ? this.document.getIn(path.slice(0, -1), true) : this.document.contents
    const pair = isMap(parent) ? parent.items.find((p) => isScalar(p.key) && p.key.value === path.at(-1)) : undefined
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined
  }
}
