import { type Dim, formula, type Shape } from '../dim.js'
import type { Known } from '../types.js'
import { many, type OpSpec, type OpTable, type OpView, type Typed } from './spec.js'

const like = (n: OpView, shape: Shape | null, known?: Typed['known']): Typed[] => [
  { dtype: n.input(0).dtype, shape, known },
]

function entry(n: OpView, contents: Known, index: number): Known[number] {
  const found = contents[index < 0 ? index + contents.length : index]
  if (found === undefined)
    throw n.illegal(`takes entry ${index} of ${contents.length}, which there is none of`)
  return found
}
const gather: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const [dims, indices] = [n.shape(0), n.shape(1)]
    if (!dims || !indices) return like(n, null)
    const axis = n.axis(n.int('axis', 0), dims.length)
    const at = n.numbers(1)
    const contents = n.x[0]?.known
    const known =
      dims.length === 1 && indices.length <= 1 && contents && at
        ? at.map((i) => entry(n, contents, i))
        : undefined
    return like(n, [...dims.slice(0, axis), ...indices, ...dims.slice(axis + 1)], known)
  },
}
const gatherElements: OpSpec = { arity: [2, 2], infer: (n) => like(n, n.shape(1)) }
const gatherND: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const [dims, indices] = [n.shape(0), n.shape(1)]
    const depth = indices?.[indices.length - 1]
    if (!dims || !indices || typeof depth !== 'number') return like(n, null)
    return like(n, [...indices.slice(0, -1), ...dims.slice(n.int('batch_dims', 0) + depth)])
  },
}
const scatter: OpSpec = { arity: [3, 3], infer: (n) => like(n, n.shape(0)) }
const oneHot: OpSpec = {
  arity: [3, 3],
  infer: (n) => {
    const dims = n.shape(0)
    const depth: Dim = n.dims(1)?.[0] ?? formula(`${n.where}#depth`)
    const axis = dims ? n.axis(n.int('axis', -1), dims.length + 1) : 0
    return [{ dtype: n.input(2).dtype, shape: dims && [...dims.slice(0, axis), depth, ...dims.slice(axis)] }]
  },
}
const nonZero: OpSpec = {
  arity: [1, 1],
  infer: (n) => [
    { dtype: 'int64', shape: n.shape(0) && [n.shape(0)?.length ?? 0, formula(`${n.where}#count`)] },
  ],
}
const einsum: OpSpec = {
  arity: [1, many],
  infer: (n) => {
    const [left, right] = n.text('equation', '').replaceAll(' ', '').split('->')
    const terms = left.split(',')
    if (right === undefined || left.includes('.') || n.x.some((_, i) => !n.shape(i))) return like(n, null)
    const sizes = new Map<string, Dim>()
    terms.forEach((term, i) => {
      const dims = n.shape(i) as Shape
      if (dims.length !== term.length) throw n.illegal(`term "${term}" needs rank ${term.length}`)
      for (const [j, letter] of [...term].entries())
        if (!sizes.has(letter) || sizes.get(letter) === 1) sizes.set(letter, dims[j])
    })
    return like(
      n,
      [...right].map((letter) => sizes.get(letter) as Dim),
    )
  },
}
const blockwiseDequantize: OpSpec = {
  arity: [2, 3],
  infer: (n) => [{ dtype: n.input(1).dtype, shape: n.shape(0) }],
}
const eyeLike: OpSpec = { arity: [1, 1], infer: (n) => like(n, n.shape(0)) }

export const gatherOps: OpTable = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatter,
  ScatterND: scatter,
  OneHot: oneHot,
  NonZero: nonZero,
  Einsum: einsum,
  DequantizeLinear: blockwiseDequantize,
  EyeLike: eyeLike,
}
