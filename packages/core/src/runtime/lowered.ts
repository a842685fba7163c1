import { type Graph, lowerForCpu, lowerForWebgpu, narrowName } from '@graft-peft/onnx'
import type { ChosenDevice } from './device.js'
import { int32, type Tensors } from './tensor.js'

/** A graph spelt by what the device computes. */
export function lowered(graph: Graph, device: ChosenDevice = 'cpu'): Graph {
  if (device === 'webgpu') return lowerForWebgpu(graph)
  return device === 'cuda' ? graph : lowerForCpu(graph)
}

/** Of these feeds, those that a graph has inputs for; inputs that were made 32 bits wide get the same numbers. */
export function feedsFor(inputs: ReadonlySet<string>, feeds: Tensors): Tensors {
  const narrow = Object.entries(feeds).flatMap(([name, t]) =>
    inputs.has(narrowName(name)) ? [[narrowName(name), int32(t)] as const] : [],
  )
  return Object.fromEntries([...Object.entries(feeds).filter(([name]) => inputs.has(name)), ...narrow])
}
