import { join } from 'node:path'
import { computeInHalf, computeInIntegers, type Graph } from '@graft-peft/onnx'
import { readTensors } from '../adapter/files.js'
import { savedForm } from '../adapter/saved.js'
import { adapt, type Adapted } from '../compile/adapt.js'
import { integersFor } from '../compile/precision.js'
import { compileGradient, compileStep, next } from '../compile/step.js'
import type { Registry } from '../container.js'
import { batchOf, modelFeeds } from '../data/batches.js'
import { GraftError } from '../errors.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { greatestDifference } from '../numbers/differences.js'
import { adamw } from '../optimizer/adamw.js'
import { runOnce, Session } from '../runtime/session.js'
import { float32, type Tensors, vectorTensors } from '../runtime/tensor.js'
import { prepare, type Setup } from './case.js'
import { type CaseReport, type Check, check, isRounded, type Replayed, type Replaying } from './checks.js'
import {
  cosineTo,
  greatestOfTensors,
  greatestRelative,
  relativeDistance,
  trainedFrom,
  withoutGradient,
} from './differences.js'
import { exportName, openGolden, trajectoryOf } from './golden.js'

/** What to replay, on which device, and in what. */
export interface VerifyOptions extends Replaying {
  /** one case of the folder; all of them and the forward pass when left out */
  only?: string
}

/**
 * Replays reference results on every export of a model: forward, first gradients, ten steps, end adapter.
 *
 * @throws NOT_GOLDEN for a folder without reference results or a model, UNKNOWN_CASE for `only` a case it lacks.
 */
export async function* verify(
  folder: string,
  registry: Registry,
  { only, ...replaying }: VerifyOptions = {},
): AsyncGenerator<CaseReport> {
  const golden = { ...openGolden(folder), ...replaying }
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
  const { graph } = model.graph.clone()
  narrow(graph, golden)
  const outputs = await runOnce(graph, feeds, { device: golden.device })
  const logits = outputs[model.logits.name].data as Float32Array
  const distance = isRounded(golden.precision) ? relativeDistance : greatestDifference
  return [check(golden, 'forward', distance(logits, golden.logits))]
}

/** Computes a forward pass's products in the precision that is asked for. */
function narrow(graph: Graph, { precision }: Replaying): void {
  const integers = integersFor({ precision })
  if (integers) computeInIntegers(graph, integers)
  else if (precision === 'float16' || precision === 'bfloat16') computeInHalf(graph, precision, new Set())
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
      precision: golden.precision,
    })
    // Without a task type HF PEFT calls the base model past its tuner, and a method's own term of the loss is
    // never added.
    return setup.objective.taskType === null
      ? { ...adapted, adapter: { ...adapted.adapter, penalty: undefined } }
      : adapted
  }
  const start = build()
  const parameters = trainedFrom(join(golden.folder, name, 'parameters.safetensors'), start.variables)
  const gradients = await gradientCheck(golden, name, start, setup, parameters)
  // Ten steps amplify rounding beyond what a tolerance could tell from a fault.
  if (isRounded(golden.precision)) return [gradients]
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
  const [flat, path] = [gradient.data as Float32Array, join(golden.folder, name, 'gradients.safetensors')]
  return isRounded(golden.precision)
    ? check(golden, 'direction', 1 - cosineTo(flat, path, adapted.variables))
    : check(golden, 'gradients', greatestRelative(flat, path, adapted.variables))
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
