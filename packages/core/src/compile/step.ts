import {
  type Bindings,
  type Builder,
  castPerUse,
  computeInIntegers,
  differentiate,
  type Graph,
  type IntegerOptions,
  type MemoryMode,
  recompute,
  mergeTwins,
  type Value,
} from '@graft-peft/onnx'
import type { Variable, Variables } from '../method/variables.js'
import { checkUpdated } from '../optimizer/checked.js'
import type { Optimizer } from '../optimizer/optimizer.js'
import { gradientName } from '../runtime/variable-tensors.js'
import type { Adapted } from './adapt.js'
import { LossScale, scalingName } from './loss-scale.js'

/** Names of a step's inputs and outputs. State vectors have the optimiser's, with this suffix when updated. */
export const next = (name: string): string => `${name}_next`

/** What the backward pass keeps, for batches of about these sizes (numbers for the symbols of the inputs' shapes). */
export interface Keeping {
  mode: MemoryMode
  sizes: Bindings
}
export interface StepOptions {
  optimizer: Optimizer
  /** everything is kept when left out */
  keeping?: Keeping
  /** greatest global norm of the gradient; 0: no clipping */
  clip: number
  /** whether gradients of several runs are summed before an update */
  accumulate: boolean
  /** whether gradients are taken of a scaled loss, as float16 needs */
  scaled?: boolean
}

/**
 * The gradients of a scalar loss with respect to the trainable parameters, as `end` puts them. What it adds
 * comes last and in the order of the layers: ONNX Runtime starts from the last node of the file, so each
 * layer's gradients are finished before the backward pass goes below it, and its activations are freed.
 */
function gradientsOf<T extends Value | readonly Value[]>(
  g: Builder,
  { objective, variables, integers }: Adapted,
  loss: Value,
  keeping: Keeping | undefined,
  end: (gradients: readonly Value[]) => T,
): T {
  const wrt = variables.list.map((v) => v.value)
  let gradients: Value[] = []
  const backward = g.graph.record(() => {
    gradients = differentiate(g, loss, wrt, objective.partials)
  })
  const ended = end(gradients)
  // The model's own outputs are no part of a step.
  g.graph.outputs.splice(0, g.graph.outputs.length, loss, ...[ended].flat())
  mergeTwins(g.graph, backward)
  if (integers) computeInIntegers(g.graph, integers, backward)
  if (keeping) recompute(g.graph, backward, keeping.mode, keeping.sizes)
  return ended
}

/** All gradients as one flat vector in the parameters' order. */
const flatGradient = (g: Builder, adapted: Adapted, loss: Value, keeping?: Keeping): Value =>
  gradientsOf(g, adapted, loss, keeping, (gradients) =>
    g.concat(
      gradients.map((d) => g.reshape(d, [-1])),
      0,
    ),
  )

/** The mean over supervised rows, and this run's share of the method's penalty where a batch is accumulated. */
function losses(g: Builder, { objective, adapter }: Adapted): { loss: Value; penalty?: Value } {
  const inverseCount = g.graph.addInput('inverse_count', 'float32', [])
  const mean = g.mul(objective.lossSum, inverseCount)
  if (!adapter.penalty) return { loss: mean }
  const penalty = g.mul(adapter.penalty, g.graph.addInput('penalty_share', 'float32', []))
  return { loss: g.add(mean, penalty), penalty }
}
function output(g: Builder, name: string, value: Value): Value {
  if (value.producer?.op === 'Identity') {
    g.graph.rename(value, name)
    return value
  }
  g.graph.release(name)
  return g.graph.addNode('Identity', [value], {}, { outputs: [name], name: `output:${name}` })
    .outputs[0] as Value
}

/** The gradient alone: outputs `loss` and `gradient`. For verification, and for training across machines. */
export function compileGradient(adapted: Adapted, keeping?: Keeping): Graph {
  const { g } = adapted.model
  const { loss } = losses(g, adapted)
  return finish(g, { loss, gradient: flatGradient(g, adapted, loss, keeping) })
}

/** What is seen of a step's products on the way to its gradients: `outputs` is asked once all of them were watched. */
export function compileWatched(
  adapted: Adapted,
  keeping: Keeping,
  outputs: () => Record<string, Value>,
): Graph {
  const { g } = adapted.model
  const { loss } = losses(g, adapted)
  flatGradient(g, adapted, loss, keeping)
  return finish(g, outputs())
}

/** Loss, gradients by variable and their global norm, where the optimiser's step is taken beside the graph. */
export function compileSeparate(adapted: Adapted, keeping: Keeping): Graph {
  const { g } = adapted.model
  const { loss, penalty } = losses(g, adapted)
  // The norm reads what goes out anyway: no gradient is kept for it.
  const gradients = gradientsOf(g, adapted, loss, keeping, (all) => all.map((d) => g.op('Identity', [d])))
  const squares = gradients.map((d) => g.op('ReduceSumSquare', [d], { keepdims: 0 }))
  const named = Object.fromEntries(gradients.map((d, i) => [gradientName(i), d]))
  return finish(g, {
    gradient_norm: g.sqrt(g.op('Sum', squares)),
    loss,
    ...(penalty ? { penalty } : {}),
    ...named,
  })
}

/**
 * A whole training step as one graph: forward, loss, backward, optimiser, and the method's own work after it.
 * Inputs: the model's and the objective's, `inverse_count`, `parameters`, the optimiser's state and
 * `scalars`; where the method asks for them, `penalty_share`, `method_state` and `method_scalars`; where the
 * loss is scaled, `scaling`.
 * Outputs: `loss` (this run's share of the mean, penalty included), `penalty`, `gradient_norm` (0 where a
 * scaled gradient overflowed and nothing was updated), `loss_scale`, and every state vector with the suffix
 * `_next`.
 */
export function compileStep(
  adapted: Adapted,
  { optimizer, clip, accumulate, keeping, scaled }: StepOptions,
): Graph {
  const { model, variables } = adapted
  const { g } = model
  const { loss, penalty } = losses(g, adapted)
  const vector = (name: string) => g.graph.addInput(name, 'float32', [variables.total])
  const scaling = scaled ? new LossScale(g) : undefined
  const own = scaling
    ? scaling.remove(flatGradient(g, adapted, scaling.apply(loss), keeping))
    : flatGradient(g, adapted, loss, keeping)
  const sum = accumulate ? vector('gradient_sum') : undefined
  const gradient = sum ? g.add(sum, own) : own
  const norm = g.sqrt(g.sumAll(g.square(gradient)))
  const clipped =
    clip > 0
      ? g.mul(gradient, g.op('Min', [g.scalar(1), g.div(g.scalar(clip), g.add(norm, g.scalar(1e-6)))]))
      : gradient
  const state = optimizer.state.map(vector)
  const scalars = scalarInputs(g, 'scalars', optimizer.scalars(1, 0).length)
  const updated = optimizer.update(g, {
    parameters: variables.flat,
    gradient: clipped,
    state,
    scalars,
    rateScale: rateScale(g, variables.list),
  })
  checkUpdated(optimizer, updated, variables.flat)
  const optimised = {
    parameters: updated.parameters,
    ...Object.fromEntries(optimizer.state.map((name, i) => [name, updated.state[i]])),
  }
  const named = { ...optimised, ...afterStep(g, adapted, clipped, updated.parameters) }
  const held = {
    parameters: variables.flat,
    ...Object.fromEntries(optimizer.state.map((name, i) => [name, state[i]])),
    ...(adapted.state ? { method_state: adapted.state.flat } : {}),
  }
  const safe = scaling ? unlessOverflown(g, named, held, scaling, norm) : { updated: named, held, norm }
  const outputs = sum ? onlyWhenApplied(g, safe.updated, safe.held, gradient) : safe.updated
  const nexts = Object.fromEntries(Object.entries(outputs).map(([name, v]) => [next(name), v]))
  return finish(g, {
    loss,
    ...(penalty ? { penalty } : {}),
    gradient_norm: safe.norm,
    ...(scaling ? { loss_scale: scaling.scale } : {}),
    ...nexts,
  })
}

interface Updating {
  updated: Record<string, Value>
  held: Record<string, Value>
  norm: Value
}
/** Where a scaled gradient overflowed everything stays as it is but the scale. */
function unlessOverflown(
  g: Builder,
  updated: Record<string, Value>,
  held: Record<string, Value>,
  scaling: LossScale,
  norm: Value,
): Updating {
  const finite = scaling.isFinite(norm)
  const kept = Object.fromEntries(
    Object.keys(updated).map((name) => [name, g.where(finite, updated[name], held[name])]),
  )
  return {
    updated: { ...kept, [scalingName]: scaling.next(finite) },
    held: { ...held, [scalingName]: scaling.held },
    norm: g.where(finite, norm, g.scalar(0)),
  }
}

/** What a method makes of the parameters and of its own state once the optimiser is done. */
function afterStep(
  g: Builder,
  { adapter, variables, state }: Adapted,
  gradient: Value,
  parameters: Value,
): Record<string, Value> {
  if (!adapter.afterStep) return {}
  const part = (flat: Value, of: Variables, v: Value) => {
    const { offset, size, shape } = of.find(v)
    return g.reshape(g.slice(flat, offset, offset + size, 0), shape)
  }
  const scalars = scalarInputs(g, 'method_scalars', adapter.afterStep.scalars(1, 1).length)
  const changed = adapter.afterStep.update({
    scalars,
    gradient: (p) => part(gradient, variables, p),
    updated: (p) => part(parameters, variables, p),
  })
  const joined = (of: Variables, flat: Value) =>
    g.concat(
      of.list.map((v) => g.reshape(changed.get(v.value) ?? part(flat, of, v.value), [-1])),
      0,
    )
  return {
    parameters: joined(variables, parameters),
    ...(state ? { method_state: joined(state, state.flat) } : {}),
  }
}

function scalarInputs(g: Builder, name: string, count: number): Value[] {
  const all = g.graph.addInput(name, 'float32', [count])
  return Array.from({ length: count }, (_, i) => g.slice(all, i, i + 1, 0))
}

/** Between updates of an accumulated batch everything stays as it is and only the gradient grows. */
function onlyWhenApplied(
  g: Builder,
  updated: Record<string, Value>,
  held: Record<string, Value>,
  gradient: Value,
): Record<string, Value> {
  const apply = g.graph.addInput('apply', 'bool', [])
  const chosen = Object.fromEntries(
    Object.keys(updated).map((name) => [name, g.where(apply, updated[name], held[name])]),
  )
  return { ...chosen, gradient_sum: g.where(apply, g.scalar(0), gradient) }
}

/** Learning rates relative to the run's, per element; undefined when all are 1. */
function rateScale(g: Builder, variables: readonly Variable[]): Value | undefined {
  if (variables.every((v) => (v.lrScale ?? 1) === 1)) return undefined
  return g.concat(
    variables.map((v) => g.expand(g.scalar(v.lrScale ?? 1), [v.size])),
    0,
  )
}

/** The forward pass alone: `loss_sum`, `predictions` and, where there are any, `row_logits` and `embeddings`. */
export function compileEvaluation({ model, objective, integers }: Adapted): Graph {
  const { g } = model
  const { lossSum, predictions, logits, embeddings } = objective
  const outputs = {
    loss_sum: lossSum,
    predictions,
    ...(logits ? { row_logits: logits } : {}),
    ...(embeddings ? { embeddings } : {}),
  }
  return finish(g, outputs, integers)
}

/** Makes these the only outputs and drops what they don't need; a forward pass's products go to integers. */
export function finish(g: Builder, outputs: Record<string, Value>, integers?: IntegerOptions): Graph {
  g.graph.outputs.splice(
    0,
    g.graph.outputs.length,
    ...Object.entries(outputs).map(([name, v]) => output(g, name, v)),
  )
  g.graph.prune()
  // A classifier on hidden states needs no vocabulary.
  g.graph.dropUnusedInputs()
  if (integers) computeInIntegers(g.graph, integers)
  castPerUse(g.graph)
  return g.graph
}
