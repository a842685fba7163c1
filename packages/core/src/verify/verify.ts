import { greatestDifference } from '../numbers/differences.js'
import { join } from 'node:path'
import { readTensors } from '../adapter/files.js'
import { methodFor, objectiveFor } from '../adapter/open.js'
import { supportedOptions } from '../adapter/options.js'
import { type StoredTensor } from '../files/safetensors.js'
import { savedForm } from '../adapter/saved.js'
import { adapt, type Adapted } from '../compile/adapt.js'
import { compileGradient, compileStep, next } from '../compile/step.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'
import type { PeftMethod } from '../method/method.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import type { Objective, Supervision } from '../objective/objective.js'
import { adamw } from '../optimizer/adamw.js'
import { type ChosenDevice } from '../runtime/device.js'
import { runOnce, Session } from '../runtime/session.js'
import { float32, scalar, type Tensors, vectorTensors } from '../runtime/tensor.js'
import { caseConfig, caseInputs, exportName, type Golden, openGolden, trajectoryOf } from './golden.js'
import { trainedFrom, greatestRelative, withoutGradient, greatestOfTensors } from './differences.js'

/** Greatest difference allowed, per check: the arbiter's tolerances on the CPU in float32. */
const onCpu = { forward: 1e-5, gradients: 1e-4, trajectory: 3e-3, adapter: 1e-2, ranks: 0 } as const
/** On GPUs, which may compute exp, sin and cos to fewer digits (WGSL, 15.7.4; CUDA's TF32). */
const onGpu: Record<keyof typeof onCpu, number> = { ...onCpu, forward: 1e-4, gradients: 5e-3 }
export const tolerancesOn = (device: ChosenDevice = 'cpu'): Record<keyof typeof onCpu, number> =>
  device === 'cuda' || device === 'webgpu' ? onGpu : onCpu

/** One comparison: the greatest difference, relative to the largest number. */
export interface Check {
  name: keyof typeof onCpu
  difference: number
  passed: boolean
}
/** How one case of reference results was met. */
export interface CaseReport {
  export: string
  case: string
  status: 'passed' | 'failed' | 'not built'
  checks: Check[]
  /** why a case isn't built, or what it threw */
  reason?: string
}

/** Reference results, and what is to repeat them. */
type Replayed = Golden & { device?: ChosenDevice }
const check = ({ device }: Replayed, name: Check['name'], difference: number): Check => ({
  name,
  difference,
  passed: difference <= tolerancesOn(device)[name],
})

/** What to replay, and on which device. */
export interface VerifyOptions {
  /** one case of the folder; all of them and the forward pass when left out */
  only?: string
  device?: ChosenDevice
}

/** Replays reference results on every export of a model: forward, first gradients, ten steps, end adapter. */
export async function* verify(
  folder: string,
  registry: Registry,
  { only, device }: VerifyOptions = {},
): AsyncGenerator<CaseReport> {
  const golden = { ...openGolden(folder), device }
  if (only && !golden.cases.includes(only))
    throw new GraftError('UNKNOWN_CASE', `${folder}: no case ${only}. Known: ${golden.cases.join(', ')}.`)
  if (golden.exports.length === 0)
    throw new GraftError(
      'NOT_GOLDEN',
      `${folder}: no model to verify, neither onnx/model.onnx nor model/ with config.json and model.safetensors.`,
    )
  for (const file of golden.exports) {
    const model = openModel(file, { architectures: registry.all('architecture') })
    if (!only) yield await guarded(model, 'forward', () => forward(golden, model))
    for (const name of only ? [only] : golden.cases)
      yield await guarded(model, name, () => verifyCase(golden, model, name, registry))
  }
}

async function guarded(model: Model, name: string, run: () => Promise<Check[]>): Promise<CaseReport> {
  const report = { export: exportName(model), case: name }
  try {
    const checks = await run()
    return { ...report, checks, status: checks.every((c) => c.passed) ? 'passed' : 'failed' }
  } catch (error) {
    const notBuilt = error instanceof GraftError && error.code === 'UNSUPPORTED_ADAPTER'
    return {
      ...report,
      checks: [],
      status: notBuilt ? 'not built' : 'failed',
      reason: (error as Error).message,
    }
  }
}

async function forward(golden: Replayed, model: Model): Promise<Check[]> {
  const feeds = {
    ...modelFeeds(model.graph.inputs, batchOf(golden.examples, undefined, golden.pad), golden.pad),
    ...golden.feeds,
  }
  const outputs = await runOnce(model.graph, feeds, { device: golden.device })
  const logits = outputs[model.logits.name].data as Float32Array
  return [check(golden, 'forward', greatestDifference(logits, golden.logits))]
}

interface Setup {
  method: PeftMethod
  methodOptions: Record<string, unknown>
  objective: Objective
  supervision: Supervision
  labels: number
  /** tensors that training doesn't change, from the adapter before it */
  stored: ReadonlyMap<string, StoredTensor>
  feeds: Tensors
}
const steps = 10

async function verifyCase(
  golden: Replayed,
  model: Model,
  name: string,
  registry: Registry,
): Promise<Check[]> {
  const setup = prepare(golden, model, name, registry)
  const build = () => {
    const adapted = adapt(model, {
      ...setup,
      expectedRows: setup.supervision.count,
      totalSteps: steps,
      training: false,
    })
    // Without a task type HF PEFT calls the base model past its tuner, and a method's own term of the loss is never added.
    return setup.objective.taskType === null
      ? { ...adapted, adapter: { ...adapted.adapter, penalty: undefined } }
      : adapted
  }
  const start = build()
  const parameters = trainedFrom(join(golden.folder, name, 'parameters.safetensors'), start.variables)
  const gradients = await gradientCheck(golden, name, start, setup, parameters)
  const { losses, ranks, end } = await train(golden, name, build(), setup, parameters)
  const expected = trajectoryOf(golden, name)
  const saved = await savedForm(build(), end)
  const reference = readTensors(join(golden.folder, name, 'end'))
  const wandering = withoutGradient(join(golden.folder, name, 'gradients.safetensors'), start.variables)
  return [
    gradients,
    // Relative to the loss: on some of these models ten steps at this rate amplify rounding so much that PyTorch's own
    // float64 run ends 3.5e-3 from its float32 run (docs/decisions/0006-verification.md).
    check(
      golden,
      'trajectory',
      Math.max(...expected.losses.map((loss, i) => Math.abs(loss - losses[i]) / Math.max(1, Math.abs(loss)))),
    ),
    check(golden, 'adapter', greatestOfTensors(saved.tensors, reference, wandering)),
    ...(expected.nonzero_singular_values && start.adapter.ranks
      ? [
          check(
            golden,
            'ranks',
            greatestDifference(Float32Array.from(ranks), expected.nonzero_singular_values),
          ),
        ]
      : []),
  ]
}

function prepare(golden: Golden, model: Model, name: string, registry: Registry): Setup {
  const stored = caseConfig(golden, name)
  const folder = join(golden.folder, name)
  const method = methodFor(folder, stored, registry)
  const objective = objectiveFor(folder, stored, registry)
  const methodOptions = { ...supportedOptions(method, stored), modules_to_save: stored.modules_to_save ?? [] }
  const labels = Number(model.logitsShape.at(-1))
  const batch = batchOf(golden.examples, method.virtualTokens?.(methodOptions), golden.pad)
  const supervision = objective.supervise(batch, 1)
  const feeds = {
    ...modelFeeds(model.graph.inputs, batch, golden.pad),
    ...golden.pixels,
    ...caseInputs(golden, name),
    ...supervision.feeds,
    inverse_count: scalar(1 / supervision.count),
    penalty_share: scalar(1),
  }
  return {
    method,
    methodOptions,
    objective,
    supervision,
    labels,
    stored: readTensors(join(folder, 'start')),
    feeds,
  }
}

async function gradientCheck(
  golden: Replayed,
  name: string,
  adapted: Adapted,
  setup: Setup,
  parameters: Float32Array,
): Promise<Check> {
  const graph = compileGradient(adapted)
  const { gradient } = await runOnce(
    graph,
    { ...setup.feeds, parameters: float32(parameters) },
    { device: golden.device },
  )
  return check(
    golden,
    'gradients',
    greatestRelative(
      gradient.data as Float32Array,
      join(golden.folder, name, 'gradients.safetensors'),
      adapted.variables,
    ),
  )
}

interface Trained {
  losses: number[]
  ranks: number[]
  end: Float32Array
}
async function train(
  golden: Replayed,
  name: string,
  adapted: Adapted,
  setup: Setup,
  start: Float32Array,
): Promise<Trained> {
  const { lr, betas, eps, weight_decay } = trajectoryOf(golden, name).optimizer
  const optimizer = adamw({ name: 'adamw', betas, epsilon: eps, weight_decay, momentum: 0 })
  const { adapter, variables, state: own } = adapted
  const vectors = {
    parameters: start,
    ...Object.fromEntries(optimizer.state.map((s) => [s, new Float32Array(start.length)])),
    ...(own ? { method_state: own.initial(0) } : {}),
  }
  let state: Tensors = vectorTensors(vectors)
  const graph = compileStep(adapted, { optimizer, clip: 0, accumulate: false })
  const session = await Session.open(graph, { device: golden.device })
  const trained: Trained = { losses: [], ranks: [], end: start }
  try {
    for (let t = 1; t <= steps + 1; t++) {
      trained.end = new Float32Array(state.parameters.data as Float32Array)
      const ranks = adapter.ranks?.((p) => variables.read(trained.end, p))
      if (ranks && t > 1) trained.ranks.push(Object.values(ranks).reduce((a, b) => a + b, 0))
      const scalars = {
        scalars: float32(optimizer.scalars(t, lr)),
        method_scalars: float32(adapter.afterStep?.scalars(t, steps) ?? []),
      }
      const outputs = await session.run({ ...setup.feeds, ...state, ...scalars })
      trained.losses.push(Number(outputs.loss.data[0]))
      state = Object.fromEntries(Object.keys(state).map((key) => [key, outputs[next(key)]]))
    }
  } finally {
    await session.close()
  }
  return trained
}
