import { Builder, Graph } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import type { ChosenDevice } from './device.js'
import { runOnce } from './session.js'
import { float32 } from './tensor.js'

/** Throws BAD_CONFIG where a device has no kernels for products of 8-bit integers. */
export function checkIntegers(device: ChosenDevice = 'cpu'): void {
  if (device === 'cuda' || device === 'webgpu')
    throw new GraftError(
      'BAD_CONFIG',
      `precision: int8 is for processors: ONNX Runtime has no such products on ${device}. Choose ${device === 'cuda' ? 'bfloat16' : 'float16'} there, or device: cpu.`,
    )
}

let found: Promise<boolean> | undefined
/**
 * Whether sums of two products of 8-bit numbers stop at 16 bits here, as they do on x86 processors without
 * VNNI (VPMADDUBSW): then activations get 7 bits. Asked of the arithmetic itself, once in a process.
 */
export const saturates = (): Promise<boolean> => (found ??= probe())

const depth = 64
async function probe(): Promise<boolean> {
  const g = new Builder(new Graph())
  const x = g.cast(g.graph.addInput('x', 'float32', ['rows', depth]), 'uint8')
  const greatest = { bytes: new Uint8Array(depth * depth).fill(127) }
  const w = g.graph.addConstant('w', { dtype: 'int8', shape: [depth, depth], data: greatest })
  const scales = g.constant('float32', new Array<number>(depth).fill(1))
  g.graph.outputs.push(g.op('com.microsoft::MatMulIntegerToFloat', [x, w, g.scalar(1), scales]))
  const rows = float32(new Float32Array(depth * depth).fill(255), [depth, depth])
  const [y] = Object.values(await runOnce(g.graph, { x: rows }))
  return y.data[0] !== depth * 255 * 127
}
