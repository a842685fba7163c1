import { Builder, Graph } from '@graft-peft/onnx'
import { Session, type SessionOptions } from './session.js'
import { float32 } from './tensor.js'

const [rows, width] = [512, 1024]

/** Floating-point operations per second of this machine's matrix products, at the size of a training step's. Takes about a second. */
export async function measureSpeed(options: SessionOptions = {}): Promise<number> {
  const g = new Builder(new Graph())
  const [x, w] = [
    g.graph.addInput('x', 'float32', ['rows', width]),
    g.graph.addInput('w', 'float32', [width, width]),
  ]
  g.graph.outputs.push(g.reduceSum(g.linear(x, w), [0, 1]))
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
