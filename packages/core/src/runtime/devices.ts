import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Builder, Graph } from '@graft-peft/onnx'
import { reason } from './reasons.js'
import { float32 } from './tensor.js'
import { type ChosenDevice, type Device, devices } from './device.js'
import { runOnce } from './session.js'

const find = createRequire(import.meta.url)
/** The version of ONNX Runtime, such as 1.30.0. */
export const runtimeVersion: string = find('onnxruntime-node/package.json').version

/** Tries a small graph on each device: "works", or why not. */
export async function probeDevices(): Promise<Record<ChosenDevice, string>> {
  const found = {} as Record<ChosenDevice, string>
  for (const device of devices) if (device !== 'auto') found[device] = await probe(device)
  return found
}

/** What `auto` stands for: CUDA where its libraries were fetched and compute, else the CPU. */
export async function chosenDevice(device: Device): Promise<ChosenDevice> {
  if (device !== 'auto') return device
  return hasCuda() && (await probe('cuda')) === works ? 'cuda' : 'cpu'
}
/** Whether ONNX Runtime's CUDA libraries lie beside its own: a plain install leaves them out. */
const hasCuda = (): boolean =>
  existsSync(
    join(
      dirname(find.resolve('onnxruntime-node/package.json')),
      'bin/napi-v6',
      process.platform,
      process.arch,
      'libonnxruntime_providers_cuda.so',
    ),
  )

const works = 'works'
async function probe(device: ChosenDevice): Promise<string> {
  const g = new Builder(new Graph())
  const x = g.graph.addInput('x', 'float32', ['n'])
  g.graph.outputs.push(g.add(x, x))
  try {
    const [sum] = Object.values(await runOnce(g.graph, { x: float32([1, 2]) }, { device }))
    return sum.data[1] === 4 ? works : `gives wrong results (2 + 2 = ${sum.data[1]})`
  } catch (error) {
    return reason((error as Error).message)
  }
}
