import { join } from 'node:path'
import { keyPrefix, loadTensors } from '../adapter/files.js'
import { methodFor, objectiveFor, supportedOptions } from '../adapter/open.js'
import { floatsOf, readSafetensors } from '../adapter/safetensors.js'
import { adapt, type Adapted } from '../compile/adapt.js'
import { compileGradient, compileStep, next } from '../compile/step.js'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'
import type { PeftMethod } from '../method/method.js'
import type { Variables } from '../method/variables.js'
import { Model } from '../model/model.js'
import type { Objective, Supervision } from '../objective/objective.js'
import { adamw } from '../optimizer/adamw.js'
import { runOnce, Session } from '../runtime/session.js'
import { float32, scalar, type Tensors } from '../runtime/tensor.js'
import { caseConfig, exportName, type Golden, openGolden, trajectoryOf } from './golden.js'

/** Greatest difference allowed, per check: the arbiter's tolerances on the CPU in float32. */
export const tolerances = { forward: 1e-5, gradients: 1e-4, trajectory: 1e-3, adapter: 1e-3 } as const

export interface Check {
  name: keyof typeof tolerances
  difference: number
  passed: boolean
}
export interface CaseReport {
  export: string
  case: string
  status: 'passed' | 'failed' | 'not built'
  checks: Check[]
  /** why a case isn't built, or what it threw */
  reason?: string
}

const check = (name: Check['name'], difference: number): Check => ({ name, difference, passed: difference <= tolerances[name] })

/** Replays reference results on every export of a model: forward, first gradients, ten steps, end adapter. */
export async function* verify(folder: string, registry: Registry, only?: string): AsyncGenerator<CaseReport> {
  const golden = openGolden(folder)
  if (only && !golden.cases.includes(only)) throw new GraftError('UNKNOWN_CASE', `${folder}: no case ${only}. Known: ${golden.cases.join(', ')}.`)
  if (golden.exports.length === 0) throw new GraftError('NOT_GOLDEN', `${folder}: no onnx/model.onnx to verify.`)
  for (const file of golden.exports) {
    const model = Model.open(file)
    if (!only) yield await guarded(model, 'forward', () => forward(golden, model))
    for (const name of only ? [only] : golden.cases) yield await guarded(model, name, () => verifyCase(golden, model, name, registry))
  }
}

async function guarded(model: Model, name: string, run: () => Promise<Check[]>): Promise<CaseReport> {
  const report = { export: exportName(model), case: name }
  try {
    const checks = await run()
    return { ...report, checks, status: checks.every((c) => c.passed) ? 'passed' : 'failed' }
  } catch (error) {
    const notBuilt = error instanceof GraftError && error.code === 'UNSUPPORTED_ADAPTER'
    return { ...report, checks: [], status: notBuilt ? 'not built' : 'failed', reason: (error as Error).message }
  }
}

async function forward(golden: Golden, model: Model): Promise<Check[]> {
  const outputs = await runOnce(model.graph, needed(model, golden.feeds))
  const logits = outputs[model.logits.name].data as Float32Array
  return [check('forward', greatestDifference(logits, golden.logits))]
}
const needed = (model: Model, feeds: Tensors): Tensors => Object.fromEntries(model.graph.inputs.map((v) => [v.name, feeds[v.name]]))

interface Setup {
  method: PeftMethod
  config: Record<string, unknown>
  objective: Objective
  supervision: Supervision
  labels: number
}

async function verifyCase(golden: Golden, model: Model, name: string, registry: Registry): Promise<Check[]> {
  const setup = prepare(golden, model, name, registry)
  const build = () => adapt(model, { ...setup, rows: setup.supervision.count, totalSteps: 10, training: false })
  const start = build()
  const parameters = () => loadTensors(join(golden.folder, name, 'parameters.safetensors'), start.variables)
  const gradients = await gradientCheck(golden, name, start, setup, parameters())
  const { losses, end } = await train(golden, name, build(), setup, parameters())
  const expected = trajectoryOf(golden, name).losses
  const reference = loadTensors(join(golden.folder, name, 'end', 'adapter_model.safetensors'), start.variables)
  return [
    gradients,
    // Relative to the loss: on some of these models ten steps at this rate amplify rounding so much that PyTorch's own
    // float64 run ends 3.5e-3 from its float32 run (docs/decisions/0006-verification.md).
    check('trajectory', Math.max(...expected.map((loss, i) => Math.abs(loss - losses[i]) / Math.max(1, Math.abs(loss))))),
    check('adapter', greatestDifference(end, reference)),
  ]
}

function prepare(golden: Golden, model: Model, name: string, registry: Registry): Setup {
  const stored = caseConfig(golden, name)
  const folder = join(golden.folder, name)
  const method = methodFor(folder, stored, registry)
  const objective = objectiveFor(folder, stored, registry)
  const config = { ...supportedOptions(method, stored), modules_to_save: stored.modules_to_save ?? [] }
  const labels = Number(model.logitsShape.at(-1))
  return { method, config, objective, supervision: objective.supervise(golden.batch, 1), labels }
}

const stepFeeds = (golden: Golden, model: Model, { supervision }: Setup): Tensors => {
  const all = { ...golden.feeds, ...supervision.feeds, inverse_count: scalar(1 / supervision.count) }
  return Object.fromEntries(Object.entries(all).filter(([name]) => model.graph.inputs.some((v) => v.name === name)))
}

async function gradientCheck(golden: Golden, name: string, adapted: Adapted, setup: Setup, parameters: Float32Array): Promise<Check> {
  const graph = compileGradient(adapted)
  const { gradient } = await runOnce(graph, { ...stepFeeds(golden, adapted.model, setup), parameters: float32(parameters) })
  return check('gradients', greatestRelative(gradient.data as Float32Array, join(golden.folder, name, 'gradients.safetensors'), adapted.variables))
}

/** Greatest difference of any gradient, relative to the greatest gradient of the same tensor. */
function greatestRelative(flat: Float32Array, path: string, variables: Variables): number {
  const { tensors } = readSafetensors(path)
  const relative = variables.list.map(({ name, offset, size }) => {
    const stored = tensors.get(keyPrefix + name)
    const own = flat.subarray(offset, offset + size)
    const reference = stored ? floatsOf(stored, name) : new Float32Array(size)
    const scale = reference.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    return greatestDifference(own, reference) / (scale || 1)
  })
  return Math.max(...relative)
}

async function train(golden: Golden, name: string, adapted: Adapted, setup: Setup, start: Float32Array): Promise<{ losses: number[]; end: Float32Array }> {
  const { lr, betas, eps, weight_decay } = trajectoryOf(golden, name).optimizer
  const optimizer = adamw({ name: 'adamw', betas, epsilon: eps, weight_decay, momentum: 0 })
  const session = await Session.open(compileStep(adapted, { optimizer, clip: 0, accumulate: false }))
  let state: Tensors = { parameters: float32(start), ...Object.fromEntries(optimizer.state.map((s) => [s, float32(new Float32Array(start.length))])) }
  const losses: number[] = []
  let end = start
  try {
    for (let t = 1; t <= 11; t++) {
      end = new Float32Array(state.parameters.data as Float32Array)
      const outputs = await session.run({ ...stepFeeds(golden, adapted.model, setup), ...state, scalars: float32(optimizer.scalars(t, lr)) })
      losses.push(Number(outputs.loss.data[0]))
      state = Object.fromEntries(Object.keys(state).map((key) => [key, outputs[next(key)]]))
    }
  } finally {
    await session.close()
  }
  return { losses, end }
}

function greatestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let greatest = 0
  for (let i = 0; i < a.length; i++) greatest = Math.max(greatest, Number.isFinite(a[i]) ? Math.abs(a[i] - b[i]) : Number.POSITIVE_INFINITY)
  return greatest
}
