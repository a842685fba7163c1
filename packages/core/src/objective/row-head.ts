import { storedConstant } from '../model/site.js'
import {
  type Builder,
  differentiate,
  is,
  type Node,
  pickRows,
  shapeOf,
  type Value,
  outputOf,
} from '@graft-peft/onnx'
import { crossEntropy } from './cross-entropy.js'
import type { BuiltObjective } from './objective.js'
import { blockHead, blockLoss } from './vocabulary-blocks.js'
import { type RowHead } from './head.js'

/** The head between two values, or undefined where some node in it looks at more than one row. */
export function rowHead(hidden: Value, logits: Value, sorted: readonly Node[]): RowHead | undefined {
  const below = new Set([hidden])
  const reached = sorted.filter((n) => {
    const depends = n.inputs.some((v) => v && below.has(v))
    if (depends) for (const v of n.outputs) if (v) below.add(v)
    return depends
  })
  const needed = new Set([logits])
  const nodes = [...reached].reverse().filter((n) => {
    const leads = n.outputs.some((v) => v && needed.has(v))
    if (leads) for (const v of n.inputs) if (v) needed.add(v)
    return leads
  })
  const outside = [...new Set(nodes.flatMap((n) => n.inputs))].filter((v): v is Value => !!v && !below.has(v))
  const fixed = outside.every((v) => v.shape?.every((d) => typeof d === 'number'))
  if (!fixed || nodes.length === 0 || !nodes.every((n) => is(n.op, 'product', 'elementwise')))
    return undefined
  return { hidden, logits, nodes: nodes.reverse(), parameters: outside.filter((v) => !storedConstant(v)) }
}

/** The head applied to other rows, reading stand-ins in its parameters' places. */
function applyHead(g: Builder, head: RowHead, rows: Value, parameters: readonly Value[]): Value {
  const copies = new Map([[head.hidden, rows], ...head.parameters.map((p, i) => [p, parameters[i]] as const)])
  for (const node of head.nodes) {
    const inputs = node.inputs.map((v) => (v ? (copies.get(v) ?? v) : null))
    const copy = g.graph.within(node.scope, () => g.op(node.op, inputs, node.attributes))
    copies.set(outputOf(node), copy)
  }
  return copies.get(head.logits) as Value
}

/**
 * Loss over chosen rows of the hidden states, the head applied chunk by chunk with loss and gradient taken in the same chunk:
 * the full logits never exist. The input `rows` indexes the flattened positions, about `expected` of them; `bounds` cut them into chunks.
 */
export function chunkedLoss(
  g: Builder,
  head: RowHead,
  inputs: { rows: Value; targets: Value; bounds: Value },
  { expected, chunks }: { expected: number; chunks: number },
): BuiltObjective {
  const picked = pickRows(g, head.hidden, inputs.rows)
  const blocks = blockHead(head)
  if (blocks) {
    const { perRow, dHidden, predictions } = blockLoss(g, blocks, picked, inputs.targets, 2 * chunks)
    const lossSum = g.sumAll(perRow)
    return { lossSum, partials: new Map([[lossSum, new Map([[picked, dHidden]])]]), predictions }
  }
  const count = chunkCount(head, expected, chunks)
  // One parameter may be made of another (DoRA's m/n − 1): cut off, each gets what comes through it alone.
  const parameters = head.parameters.map(g.stopGradient)
  const bound = (k: number) => Math.floor((k * chunks) / count)
  const parts = Array.from({ length: count }, (_, k) => {
    const [rows, targets] = [picked, inputs.targets].map((v) =>
      count === 1 ? v : between(g, v, inputs.bounds, bound(k), bound(k + 1)),
    )
    // A matrix tied to the embedding reaches the hidden states as well: that way belongs to the backward pass, not to the head's.
    const hidden = g.stopGradient(g.unsqueeze(rows, [0]))
    const logits = g.squeeze(applyHead(g, head, hidden, parameters), [0])
    const { perRow, slope } = crossEntropy(g, logits, targets)
    const sum = g.sumAll(perRow)
    const known = new Map([[sum, new Map([[logits, slope]])]])
    const [dHidden, ...dParameters] = differentiate(g, sum, [hidden, ...parameters], known)
    return {
      perRow,
      dHidden: g.squeeze(dHidden, [0]),
      dParameters,
      predictions: g.op('ArgMax', [logits], { axis: -1, keepdims: 0 }),
    }
  })
  const lossSum = g.sumAll(
    g.concat(
      parts.map((p) => p.perRow),
      0,
    ),
  )
  const dPicked = g.concat(
    parts.map((p) => p.dHidden),
    0,
  )
  const partials = new Map([[picked, dPicked]])
  head.parameters.forEach((p, i) => partials.set(p, parts.map((part) => part.dParameters[i]).reduce(g.add)))
  return {
    lossSum,
    partials: new Map([[lossSum, partials]]),
    predictions: g.concat(
      parts.map((p) => p.predictions),
      0,
    ),
  }
}

/** A trained matrix gets a gradient from every chunk: as many rows as it is wide make the logits no larger than that. */
function chunkCount({ parameters, hidden }: RowHead, rows: number, chunks: number): number {
  const width = shapeOf(hidden).at(-1) as number
  return parameters.length === 0 ? chunks : Math.min(chunks, Math.max(1, Math.floor(rows / width)))
}

/** The part of v between two of the bounds. */
function between(g: Builder, v: Value, bounds: Value, from: number, to: number): Value {
  return g.op('Slice', [v, g.slice(bounds, from, from + 1, 0), g.slice(bounds, to, to + 1, 0), g.ints([0])])
}
/** Loss over whole logits [rows, classes]. */
export function wholeLoss(g: Builder, logits: Value, targets: Value): BuiltObjective {
  const { perRow, slope } = crossEntropy(g, logits, targets)
  const lossSum = g.sumAll(perRow)
  return {
    lossSum,
    partials: new Map([[lossSum, new Map([[logits, slope]])]]),
    predictions: g.op('ArgMax', [logits], { axis: -1, keepdims: 0 }),
    logits,
  }
}
