import { createRequire } from 'node:module'
import { Builder, Graph } from '@graft/onnx'
import { float32 } from './tensor.js'
import { type Device, devices, runOnce } from './session.js'

export const runtimeVersion: string = createRequire(import.meta.url)('onnxruntime-node/package.json').version

/** Tries a small graph on each device: "works", or why not. */
export async function probeDevices(): Promise<Record<Exclude<Device, 'auto'>, string>> {
  const found = {} as Record<Exclude<Device, 'auto'>, string>
  for (const device of devices) if (device !== 'auto') found[device] = await probe(device)
  return found
}

async function probe(device: Device): Promise<string> {
  const g = new Builder(new Graph())
  const x = g.graph.addInput('x', 'float32', ['n'])
  g.graph.outputs.push(g.add(x, x))
  try {
    const [sum] = Object.values(await runOnce(g.graph, { x: float32([1, 2]) }, { device }))
    return sum.data[1] === 4 ? 'works' : `gives wrong results (2 + 2 = ${sum.data[1]})`
  } catch (error) {
    return (error as Error).message.split('\n')[0]
  }
}
