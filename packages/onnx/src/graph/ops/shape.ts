import {
  addDims,
  type Dim,
  divideExactly,
  floorDivide,
  formula,
  isStatic,
  multiplyDims,
  productOf,
  type Shape,
  subtractDims,
} from '../dim.js'
import type { Known } from '../types.js'
import { knownLimit, many, type OpSpec, type OpTable, type OpView, type Typed } from './spec.js'

const shortVector = (shape: Shape | null): boolean =>
  !!shape && shape.length <= 1 && Number(shape[0] ?? 1) <= knownLimit

/** A typed output of input 0's element type. */
const like = (n: OpView, shape: Shape | null, known?: Known): Typed[] => [
  { dtype: n.input(0).dtype, shape, known },
]
const unknownOfRank = (n: OpView, rank: number): Dim[] =>
  Array.from({ length: rank }, (_, i) => formula(`${n.where}#${i}`))

const shape: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const dims = n.shape(0)?.slice(n.int('start', 0), n.int('end', Number.MAX_SAFE_INTEGER))
    return [{ dtype: 'int64', shape: dims ? [dims.length] : null, known: dims }]
  },
}
const size: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const dims = n.shape(0)
    return [{ dtype: 'int64', shape: [], known: dims ? [productOf(dims)] : undefined }]
  },
}

function reshapedDims(n: OpView, from: Shape | null, target: readonly Dim[]): Dim[] {
  const copyZero = n.int('allowzero', 0) === 0
  const dims = target.map((d, i) => (d === 0 && copyZero ? (from?.[i] ?? formula(`${n.where}#${i}`)) : d))
  const free = dims.indexOf(-1)
  const rest = productOf(dims.filter((d) => d !== -1))
  if (!from) return dims.map((d, i) => (d === -1 ? formula(`${n.where}#${i}`) : d))
  const total = productOf(from)
  if (free >= 0) dims[free] = divideExactly(total, rest) ?? floorDivide(total, rest)
  else if (typeof rest !== typeof total || (typeof rest === 'number' && rest !== total))
    throw staticShape(n, total, dims)
  return dims
}
const staticShape = (n: OpView, total: Dim, dims: readonly Dim[]) =>
  n.illegal(
    `can't reshape ${total} elements into [${dims.join(', ')}]: the export fixed a dimension that should be free. Export again with dynamic batch and sequence`,
  )

const reshape: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const target = n.dims(1)
    if (target)
      return like(
        n,
        reshapedDims(n, n.shape(0), target),
        n.x[0]?.known && target.length <= 1 ? n.x[0].known : undefined,
      )
    const rank = n.shape(1)?.[0]
    return like(n, typeof rank === 'number' ? unknownOfRank(n, rank) : null)
  },
}
const flatten: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const dims = n.shape(0)
    if (!dims) return like(n, null)
    const axis = n.int('axis', 1) < 0 ? n.int('axis', 1) + dims.length : n.int('axis', 1)
    return like(n, [productOf(dims.slice(0, axis)), productOf(dims.slice(axis))])
  },
}
const squeeze: OpSpec = {
  arity: [1, 2],
  infer: (n) => {
    const dims = n.shape(0)
    if (!dims) return like(n, null)
    const axes = n.numbers(1)?.map((a) => n.axis(a, dims.length))
    return like(
      n,
      dims.filter((d, i) => (axes ? !axes.includes(i) : d !== 1)),
      n.x[0]?.known,
    )
  },
}
const unsqueeze: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const [dims, given] = [n.shape(0), n.numbers(1)]
    if (!dims || !given) return like(n, null)
    const rank = dims.length + given.length
    const axes = given.map((a) => n.axis(a, rank))
    const rest = [...dims]
    const result = Array.from({ length: rank }, (_, i) => (axes.includes(i) ? 1 : (rest.shift() as Dim)))
    return like(n, result, result.length <= 1 ? n.x[0]?.known : undefined)
  },
}
const transpose: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const dims = n.shape(0)
    const perm = n.ints('perm') ?? dims?.map((_, i) => dims.length - 1 - i)
    return like(n, dims && perm ? perm.map((p) => dims[p]) : null)
  },
}
const concat: OpSpec = {
  arity: [1, many],
  infer: (n) => {
    const shapes = n.x.map((_, i) => n.shape(i))
    n.sameType(...n.x.keys())
    if (shapes.some((s) => !s)) return like(n, null)
    const [first] = shapes as Shape[]
    const axis = n.axis(n.int('axis', 0), first.length)
    if (shapes.some((s) => s?.length !== first.length)) throw n.illegal('joins tensors of different ranks')
    const dims = first.map((d, i) => (i === axis ? (shapes as Shape[]).map((s) => s[i]).reduce(addDims) : d))
    const known = n.x.every((v) => v?.known) ? n.x.flatMap((v) => v?.known ?? []) : undefined
    return like(n, dims, dims.length === 1 && shortVector(dims) ? known : undefined)
  },
}
const split: OpSpec = {
  arity: [1, 2],
  infer: (n) => {
    const dims = n.shape(0)
    const outputs = Array.from({ length: n.outputs })
    if (!dims) return outputs.flatMap(() => like(n, null))
    const axis = n.axis(n.int('axis', 0), dims.length)
    const given = n.dims(1, n.outputs)
    const chunk = given ? undefined : splitChunk(dims[axis], n.outputs)
    // Sizes that are computed are known when the graph runs.
    const computed = n.x[1] && !given
    return outputs.flatMap((_, i) => {
      const part =
        given?.[i] ??
        (computed ? formula(`${n.where}#part${i}`) : undefined) ??
        (i === n.outputs - 1 ? subtractDims(dims[axis], multiplyDims(chunk as Dim, i)) : (chunk as Dim))
      return like(
        n,
        dims.map((d, j) => (j === axis ? part : d)),
      )
    })
  },
}
const splitChunk = (dim: Dim, parts: number): Dim =>
  typeof dim === 'number' ? Math.ceil(dim / parts) : floorDivide(dim, parts)

/** Whether an end means "to the end": exporters write the greatest int32 or int64. Vectors of trained parameters may be longer than the first. */
export const isOpen = (end: number): boolean => end === 2 ** 31 - 1 || end > 2 ** 52

/** How many elements start:end:step takes of `dim`. */
function sliceLength(
  n: OpView,
  dim: Dim,
  start: Dim | undefined,
  end: Dim | undefined,
  step: number,
  label: string,
): Dim {
  if (start === undefined || end === undefined) return formula(`${n.where}#${label}`)
  const open = (d: Dim) => typeof d === 'number' && isOpen(d)
  if (typeof dim === 'number' && typeof start === 'number' && typeof end === 'number') {
    const clamp = (v: number) =>
      Math.min(Math.max(v < 0 ? v + dim : v, step < 0 ? -1 : 0), step < 0 ? dim - 1 : dim)
    return Math.max(0, Math.ceil((clamp(end) - clamp(start)) / step))
  }
  const absolute = (d: Dim): Dim => (typeof d === 'number' && d < 0 ? addDims(dim, d) : d)
  if (step === 1 && (open(end) || end === dim))
    return start === 0 ? dim : typeof start === 'number' && start < 0 ? -start : subtractDims(dim, start)
  if (step === 1) return subtractDims(absolute(end), absolute(start))
  return formula(`slice(${dim},${start},${end},${step})`)
}
const slice: OpSpec = {
  arity: [3, 5],
  infer: (n) => {
    const dims = n.shape(0)
    if (!dims) return like(n, null)
    const count = n.shape(1)?.[0] as number
    const axes =
      n.numbers(3)?.map((a) => n.axis(a, dims.length)) ?? Array.from({ length: count }, (_, i) => i)
    const steps = n.numbers(4, axes.length) ?? axes.map(() => 1)
    const result = dims.map((d, i) => {
      const at = axes.indexOf(i)
      return at < 0 ? d : sliceLength(n, d, n.dims(1)?.[at], n.dims(2)?.[at], steps[at], `${i}`)
    })
    const [start, end] = [n.numbers(1)?.[0], n.numbers(2)?.[0]]
    const known =
      steps[0] === 1 && start !== undefined && end !== undefined
        ? n.x[0]?.known?.slice(start, end)
        : undefined
    return like(n, result, dims.length === 1 ? known : undefined)
  },
}
const expand: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const [dims, target] = [n.shape(0), n.dims(1)]
    if (!dims || !target) {
      const rank = n.shape(1)?.[0]
      return like(n, dims && typeof rank === 'number' ? unknownOfRank(n, Math.max(rank, dims.length)) : null)
    }
    const rank = Math.max(dims.length, target.length)
    return like(
      n,
      Array.from({ length: rank }, (_, i) => {
        const [d, t] = [dims[dims.length - rank + i] ?? 1, target[target.length - rank + i] ?? 1]
        return t === 1 ? d : t
      }),
    )
  },
}
const tile: OpSpec = {
  arity: [2, 2],
  infer: (n) => {
    const dims = n.shape(0)
    const repeats = n.dims(1, dims?.length)
    return like(
      n,
      dims && repeats
        ? dims.map((d, i) => multiplyDims(d, repeats[i]))
        : dims && unknownOfRank(n, dims.length),
    )
  },
}
const pad: OpSpec = {
  arity: [2, 4],
  infer: (n) => {
    const dims = n.shape(0)
    if (!dims) return like(n, null)
    const axes = n.numbers(3)?.map((a) => n.axis(a, dims.length)) ?? dims.map((_, i) => i)
    const pads = n.dims(1, 2 * axes.length)
    if (!pads) return like(n, unknownOfRank(n, dims.length))
    const added = (i: number): Dim => {
      const at = axes.indexOf(i)
      return at < 0 ? 0 : addDims(pads[at], pads[at + axes.length])
    }
    return like(
      n,
      dims.map((d, i) => addDims(d, added(i))),
    )
  },
}
const constantOfShape: OpSpec = {
  arity: [1, 1],
  infer: (n) => {
    const value = n.attributes.value as { tensor: { dtype: Typed['dtype'] } } | undefined
    const dims = n.dims(0)
    const fill = n.attributes.fill as number | undefined
    const known =
      dims && isStatic(dims) && shortVector(dims) && fill !== undefined
        ? Array<number>(dims[0] ?? 1).fill(fill)
        : undefined
    return [{ dtype: value?.tensor.dtype ?? 'float32', shape: dims ?? null, known }]
  },
}
const range: OpSpec = {
  arity: [3, 3],
  infer: (n) => {
    const [start, limit, delta] = [n.dims(0)?.[0], n.dims(1)?.[0], n.numbers(2)?.[0]]
    const length =
      start !== undefined && limit !== undefined && delta === 1
        ? subtractDims(limit, start)
        : formula(`${n.where}#0`)
    const known =
      typeof length === 'number' && typeof start === 'number' && length <= knownLimit
        ? Array.from({ length }, (_, i) => start + i)
        : undefined
    return like(n, [length], known)
  },
}
const same: OpSpec = { arity: [1, many], infer: (n) => like(n, n.shape(0)) }

export const shapeOps: OpTable = {
  Shape: shape,
  Size: size,
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  ConstantOfShape: constantOfShape,
  Range: range,
  Trilu: same,
  CumSum: same,
}
