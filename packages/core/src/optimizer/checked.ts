import type { Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import type { Optimizer } from './optimizer.js'

const bad = (name: string, what: string): GraftError =>
  new GraftError('BAD_OPTIMIZER', `Optimizer ${name}: ${what}. This is a fault of the optimizer's package.`)

/** Vectors of a step that are no optimiser's. */
const taken = [
  'parameters',
  'gradient',
  'gradient_sum',
  'method_state',
  'scaling',
  'scalars',
  'loss',
  'penalty',
]

/** Throws BAD_OPTIMIZER for what `create` must not return. */
export function checkOptimizer(name: string, optimizer: Optimizer): Optimizer {
  const { state, scalars, update } = optimizer ?? {}
  if (!Array.isArray(state) || typeof scalars !== 'function' || typeof update !== 'function')
    throw bad(name, 'create should return { state, scalars, update }')
  const clash = state.find((s, i) => taken.includes(s) || state.indexOf(s) !== i)
  if (clash !== undefined) throw bad(name, `a state vector can't be named ${clash}: the name is taken`)
  const fed = [1, 2].map((t) => optimizer.scalars(t, 1e-3))
  if (fed.some((s) => !Array.isArray(s) || s.some((v) => !Number.isFinite(v))))
    throw bad(name, `scalars gave ${fed[0]} for step 1; expected a list of finite numbers`)
  if (fed[0].length !== fed[1].length)
    throw bad(name, `scalars gave ${fed[0].length} numbers for step 1 and ${fed[1].length} for step 2`)
  return optimizer
}

/** Throws BAD_OPTIMIZER where `update` doesn't give the next parameters and one vector for each of its state. */
export function checkUpdated(
  { state }: Pick<Optimizer, 'state'>,
  updated: { parameters: Value; state: readonly Value[] },
  parameters: Value,
): void {
  const found = [updated?.parameters, ...(updated?.state ?? [])]
  if (found.length !== state.length + 1 || found.some((v) => !v))
    throw bad(
      `of state ${state.join(', ') || 'none'}`,
      `update returned ${found.length - 1} state vectors; expected ${state.length}`,
    )
  const odd = found.find((v) => v.shape?.length !== 1 || v.shape[0] !== parameters.shape?.[0])
  if (odd)
    throw bad(
      `of state ${state.join(', ') || 'none'}`,
      `update returned a value of shape [${odd.shape?.join(', ')}]; expected [${parameters.shape?.join(', ')}], as parameters is`,
    )
}
