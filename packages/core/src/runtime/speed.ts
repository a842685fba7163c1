import { Builder, Graph, type Value } from '@graft-peft/onnx'
import { Session, type SessionOptions } from './session.js'
import { float32 } from './tensor.js'

const [rows, width] = [512, 1024]

/** A product of activations with a matrix, in each type that a step computes products in. */
const products = {
  float32: (g: Builder, x: Value, w: Value) => g.linear(x, w),
  bfloat16: (g: Builder, x: Value, w: Value) =>
    g.cast(g.linear(g.cast(x, 'bfloat16'), g.cast(w, 'bfloat16')), 'float32'),
  int8: (g: Builder, x: Value) => {
    const matrix = { bytes: new Uint8Array(width * width).fill(1) }
    const w = g.graph.addConstant('int8', { dtype: 'int8', shape: [width, width], data: matrix })
    const scales = g.constant('float32', new Array<number>(width).fill(1))
    const zero = g.constant('uint8', [128], [])
    const numbers = g.op('QuantizeLinear', [x, g.scalar(1), zero])
    return g.op('com.microsoft::MatMulIntegerToFloat', [numbers, w, g.scalar(1), scales, zero])
  },
}
/** A type in which measureSpeed times products of matrices on this machine. */
export type MeasuredType = keyof typeof products
/** Every type that measureSpeed knows. */
export const measuredTypes = Object.keys(products) as MeasuredType[]

/**
 * Operations per second of this machine's matrix products, two a multiply-add, at the size of a training
 * step's. Takes about a second.
 */
export async function measureSpeed(
  options: SessionOptions = {},
  type: MeasuredType = 'float32',
): Promise<number> {
  const g = new Builder(new Graph())
  const [x, w] = [
    g.graph.addInput('x', 'float32', ['rows', width]),
    g.graph.addInput('w', 'float32', [width, width]),
  ]
  g.graph.outputs.push(g.reduceSum(products[type](g, x, w), [0, 1]))
  g.graph.dropUnusedInputs()
  const session = await Session.open(g.graph, options)
  try {
    const feeds = {
      x: float32(new Float32Array(rows * width).fill(1), [rows, width]),
      w: float32(new Float32Array(width * width).fill(1), [width, width]),
    }
    let fastest = Number.POSITIVE_INFINITY
    for (let k = 0; k < 20; k++) {
      const started = performance.now()
      await session.run(feeds)
      fastest = Math.min(fastest, performance.now() - started)
    }
    return (2 * rows * width * width) / (fastest / 1000)
  } finally {
    await session.close()
  }
}
