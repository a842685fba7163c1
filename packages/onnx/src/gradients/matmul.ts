import type { Builder } from '../graph/builder.js'
import { productOf } from '../graph/dim.js'
import { shapeOf } from '../graph/graph.js'
import type { Value } from '../graph/types.js'
import type { GradientRule, GradientTable, RuleContext } from './rule.js'

interface Product {
  a: Value
  b: Value
  transA: boolean
  transB: boolean
  alpha: number
}

/** A value of rank 2 or more as a matrix: leading dimensions joined. */
function rows(g: Builder, v: Value): Value {
  const shape = shapeOf(v)
  return shape.length === 2 ? v : g.reshape(v, [productOf(shape.slice(0, -1)), shape[shape.length - 1]])
}

/** y = α·op(a)·op(b). Weights are never transposed in memory: the transposition goes into the product. */
function productRules(g: Builder, { a, b, transA, transB, alpha }: Product, dy: Value): (() => Value)[] {
  const sharedWeight = shapeOf(b).length === 2 && shapeOf(a).length > 2 && !transA
  const [left, up] = sharedWeight ? [() => rows(g, a), () => rows(g, dy)] : [() => a, () => dy]
  return [
    () =>
      transA
        ? g.matMul(b, dy, { transA: transB, transB: true, alpha })
        : g.matMul(dy, b, { transB: !transB, alpha }),
    () =>
      transB
        ? g.matMul(up(), left(), { transA: true, transB: transA, alpha })
        : g.matMul(left(), up(), { transA: !transA, alpha }),
  ]
}

const flags = (c: RuleContext) => ({
  transA: c.int('transA', 0) === 1,
  transB: c.int('transB', 0) === 1,
  alpha: (c.attribute('alpha') as number | undefined) ?? 1,
})

const matMul: GradientRule = ({ x: [a, b], dy, g }) => {
  const [vectorA, vectorB] = [shapeOf(a).length === 1, shapeOf(b).length === 1]
  const plain = { transA: false, transB: false, alpha: 1 }
  if (!vectorA && !vectorB) return productRules(g, { a, b, ...plain }, dy)
  const matrixA = vectorA ? g.unsqueeze(a, [0]) : a
  const matrixB = vectorB ? g.unsqueeze(b, [1]) : b
  const withColumn = vectorB ? g.unsqueeze(dy, [-1]) : dy
  const up = vectorA ? g.unsqueeze(withColumn, [-2]) : withColumn
  const [da, db] = productRules(g, { a: matrixA, b: matrixB, ...plain }, up)
  const leading = (v: Value) => Array.from({ length: shapeOf(v).length - 2 }, (_, i) => i)
  const flat = (v: Value, axis: number) =>
    g.squeeze(leading(v).length > 0 ? g.squeeze(g.reduceSum(v, leading(v)), leading(v)) : v, [axis])
  return [vectorA ? () => flat(da(), 0) : da, vectorB ? () => flat(db(), 1) : db]
}

const gemm: GradientRule = (c) => {
  const beta = (c.attribute('beta') as number | undefined) ?? 1
  return [...productRules(c.g, { a: c.x[0], b: c.x[1], ...flags(c) }, c.dy), () => c.g.scale(c.dy, beta)]
}

/** einsum's gradient is an einsum: the operand's term and the output's change places. */
const einsum: GradientRule = (c) => {
  const [left, right] = String(c.attribute('equation')).replaceAll(' ', '').split('->')
  const terms = left.split(',')
  return c.x.map((_, i) => () => {
    const others = terms.filter((_, j) => j !== i)
    const equation = `${[right, ...others].join(',')}->${terms[i]}`
    return c.g.op('Einsum', [c.dy, ...c.x.filter((_, j) => j !== i)], { equation })
  })
}

export const matmul: GradientTable = {
  MatMul: matMul,
  'com.microsoft::FusedMatMul': (c) => productRules(c.g, { a: c.x[0], b: c.x[1], ...flags(c) }, c.dy),
  Gemm: gemm,
  Einsum: einsum,
}
