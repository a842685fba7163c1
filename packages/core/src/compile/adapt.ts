import { computeInHalf, type IntegerOptions, shapeOf, type Value } from '@graft-peft/onnx'
import { fileKey } from '../method/keys.js'
import { floatsOf, type StoredTensor } from '../files/safetensors.js'
import { GraftError } from '../errors.js'
import {
  type Adapter,
  type AttachContext,
  noVirtualTokens,
  type PeftMethod,
  type VirtualTokens,
} from '../method/method.js'
import { trainModules, trainNamedModules } from '../method/train-fully.js'
import {
  type BufferOptions,
  type FrozenTensor,
  initialised,
  type Variable,
  Variables,
} from '../method/variables.js'
import { checkAttached } from '../method/attached.js'
import type { Model } from '../model/model.js'
import { type BuiltObjective, inputOf, type Objective } from '../objective/objective.js'
import { tasksInput } from '../data/batches.js'
import { guarded } from '../blame.js'
import { checkBuilt } from '../objective/checked.js'
import { Dropout } from './dropout.js'
import { integersFor, type PrecisionOptions } from './precision.js'
import { requireFloats, requireDynamicShapes } from './requirements.js'

export interface AdaptOptions extends PrecisionOptions {
  method: PeftMethod
  /** validated options of the method */
  methodOptions: Record<string, unknown>
  objective: Objective
  labels: number
  /** about how many rows a batch supervises */
  expectedRows: number
  totalSteps: number
  training: boolean
  /** whether each variable is an input of its own: for variables too many to slice */
  separate?: boolean
  /** decides buffers that no file holds; 0 when left out */
  seed?: number
  /** what the method's `prepare` returned */
  prepared?: unknown
  /** tensors of an adapter's file; the method then attaches what the file holds */
  stored?: ReadonlyMap<string, StoredTensor>
  inference?: boolean
}
/** A model with a method attached and an objective on top, ready to be compiled. */
export interface Adapted {
  model: Model
  variables: Variables
  /** how many of the variables the method declared; those after them are trained in full beside it */
  own: number
  /** tensors that the method updates itself, if it has any */
  state?: Variables
  buffers: FrozenTensor[]
  objective: BuiltObjective
  adapter: Adapter
  /** how products are to be computed in 8-bit integers, once all are there */
  integers?: IntegerOptions
  dropoutSeed?: Value
  /** dummy tokens that every text starts with */
  virtualTokens: VirtualTokens
}

/** Attaches a method and an objective to a fork of the model; the base is left as it was. */
export function adapt(base: Model, options: AdaptOptions): Adapted {
  requireDynamicShapes(base)
  if (options.training) requireFloats(base)
  const model = base.fork()
  const { g } = model
  const variables = new Variables(g, 'parameters', options.separate)
  const buffers: FrozenTensor[] = []
  let state: Variables | undefined
  let dropout: Dropout | undefined
  const context: AttachContext = {
    model,
    g,
    param: namedParam(variables, model, options.method),
    buffer: (name, wanted) => buffer(model, buffers, name, wanted, options),
    state: (name, wanted) => {
      state ??= new Variables(g, 'method_state')
      return state.param(name, wanted)
    },
    totalSteps: options.totalSteps,
    inference: options.inference ?? false,
    prepared: options.prepared,
    dropout: (x, p, name) => {
      if (!options.training || p === 0) return x
      dropout ??= new Dropout(g)
      return dropout.apply(x, p, name)
    },
    taskIds: () =>
      model.graph.inputs.find((v) => v.name === tasksInput) ??
      model.graph.addInput(tasksInput, 'int64', [shapeOf(model.graph.inputs[0])[0]]),
    noise: (x, name) => {
      if (!options.training) return g.zeros(shapeOf(x), x.dtype)
      dropout ??= new Dropout(g)
      return dropout.normal(x, name)
    },
  }
  // What is trained in full is not adapted as well, whatever the method's own targets say.
  const modules_to_save =
    (options.methodOptions.modules_to_save as readonly string[] | null | undefined) ??
    options.objective.savedModules
  const adapter = guarded(options.method, () =>
    options.method.attach(context, { ...options.methodOptions, modules_to_save }),
  )
  checkAttached(options.method.name, adapter)
  const own = variables.list.length
  const virtualTokens = options.method.virtualTokens?.(options.methodOptions) ?? noVirtualTokens
  refuseForDecoders(model, options.method, virtualTokens)
  const param: AttachContext['param'] =
    virtualTokens.count > 0
      ? (name, wanted) => variables.param(name, { key: `${promptPrefix}${name}`, ...wanted })
      : variables.param
  trainBeside(options, { model, param })
  const { labels, expectedRows } = options
  const objective = guarded(options.objective, () =>
    options.objective.build({ model, g, param, input: inputOf(g), labels, expectedRows }),
  )
  checkBuilt(options.objective.name, objective)
  if (options.training && variables.total === 0)
    throw new GraftError(
      'NOTHING_TO_TRAIN',
      'The method declared no trainable parameters: check target_modules and the rank.',
    )
  const { precision } = options
  if (precision === 'float16' || precision === 'bfloat16')
    computeInHalf(
      model.graph,
      precision,
      new Set([...variables.list, ...(state?.list ?? [])].map((v) => v.value)),
    )
  refuseTwins(options.method, variables, buffers)
  noticeIdle(model, variables.list.slice(0, own), [
    objective.lossSum,
    objective.predictions,
    objective.embeddings,
    adapter.penalty,
  ])
  variables.close()
  state?.close()
  return {
    model,
    variables,
    own,
    state,
    buffers,
    objective,
    adapter,
    integers: integersFor(options),
    dropoutSeed: dropout?.seed,
    virtualTokens,
  }
}

const badMethod = ({ name }: PeftMethod, what: string) =>
  new GraftError('BAD_METHOD', `Method ${name}: ${what}. This is a fault of the method's package.`)

/** The same name again means the same variable where a module is called twice; one that names no module, and no key of the file that its users share, is two tensors under one name. */
function namedParam(variables: Variables, model: Model, method: PeftMethod): AttachContext['param'] {
  return (name, wanted) => {
    const twice = variables.list.some((v) => v.name === name)
    if (twice && !wanted.key && !model.sites.some(({ path }) => name.startsWith(`${path}.`)))
      throw badMethod(
        method,
        `parameter ${name} is declared twice: name it after its module, as in \${site.path}.${name}`,
      )
    return variables.param(name, wanted)
  }
}

/** Two tensors under one key of the file would be one after saving. */
function refuseTwins(method: PeftMethod, { list }: Variables, buffers: readonly FrozenTensor[]): void {
  const keys = [...list, ...buffers.filter((b) => b.stored)].map(fileKey)
  const twin = keys.find((key, i) => keys.indexOf(key) !== i)
  if (twin) throw badMethod(method, `two tensors would be saved as ${twin}: one of them needs another name`)
}

/** Says which of a method's parameters nothing of what is computed depends on. */
function noticeIdle(model: Model, own: readonly Variable[], ends: readonly (Value | undefined)[]): void {
  const reached = new Set<Value>()
  const open = ends.filter((v) => v !== undefined)
  for (let value = open.pop(); value; value = open.pop()) {
    if (reached.has(value)) continue
    reached.add(value)
    for (const input of value.producer?.inputs ?? []) if (input) open.push(input)
  }
  const idle = own.filter((v) => v.size > 0 && !reached.has(v.value))
  if (idle.length > 0)
    model.notices.push(
      `${idle.length} of the adapter's ${own.length} tensors reach nothing that the loss depends on, and won't be trained, such as ${idle[0].name}.`,
    )
}

/** HF PEFT gives encoder and decoder prompts of their own, which isn't built here. */
function refuseForDecoders({ graph, file }: Model, { name }: PeftMethod, { count }: VirtualTokens): void {
  if (count > 0 && graph.inputs.some((v) => v.name === 'decoder_input_ids'))
    throw new GraftError(
      'UNSUPPORTED_ADAPTER',
      `${file}: ${name} is not built for models with an encoder and a decoder. Choose a method that adapts weights, such as lora.`,
    )
}

/** HF PEFT doesn't wrap the layers of a model that only gets prompts, so its modules have shorter keys. */
const promptPrefix = 'base_model.'

function buffer(
  model: Model,
  buffers: FrozenTensor[],
  name: string,
  wanted: BufferOptions,
  { stored, seed = 0 }: AdaptOptions,
): Value {
  const known = buffers.find((b) => b.name === name)
  if (known) return known.value
  const key = fileKey({ name, ...wanted })
  const found = wanted.stored ? stored?.get(key) : undefined
  if (found && `${found.shape}` !== `${wanted.shape}`)
    throw new GraftError(
      'ADAPTER_MISMATCH',
      `The adapter's tensor ${key} is [${found.shape.join(', ')}], expected [${wanted.shape.join(', ')}]. Is it an adapter of another base model, or of other options?`,
    )
  const data = found ? floatsOf(found, key) : initialised({ name, ...wanted }, seed)
  const integer = wanted.stored === 'I32' || wanted.stored === 'I64'
  const bytes = integer
    ? new Uint8Array(BigInt64Array.from(data, BigInt).buffer)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const value = model.graph.addConstant(name, {
    dtype: integer ? 'int64' : 'float32',
    shape: wanted.shape,
    data: { bytes },
  })
  buffers.push({ ...wanted, name, data, value })
  return value
}

/** Modules trained in full beside the method: those the config names, and the objective's head. */
function trainBeside(
  { methodOptions: config, objective }: AdaptOptions,
  { model, param }: Pick<AttachContext, 'model' | 'param'>,
): void {
  const saved = config.modules_to_save as readonly string[] | null | undefined
  const optional = (name: string) => objective.savedModules.includes(name)
  if (saved)
    trainNamedModules(
      model,
      param,
      saved.filter((n) => !optional(n)),
    )
  trainModules(model, param, (saved ?? objective.savedModules).filter(optional))
}
