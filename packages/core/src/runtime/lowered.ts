import { type DType, type Graph, lowerForCpu, lowerForWebgpu, narrowName } from '@graft-peft/onnx'
import type { ChosenDevice } from './device.js'
import { int32, type Tensors } from './tensor.js'

/** A graph spelt by what the device computes. */
export function lowered(graph: Graph, device: ChosenDevice = 'cpu'): Graph {
  if (device === 'webgpu') return lowerForWebgpu(graph)
  return device === 'cuda' ? graph : lowerForCpu(graph)
}

/**
 * Of these feeds, those that a graph has inputs for; inputs that are 32 bits wide, or were made so, get the
 * same numbers.
 */
export function feedsFor(inputs: ReadonlyMap<string, DType>, feeds: Tensors): Tensors {
  const narrow = Object.entries(feeds).flatMap(([name, t]) =>
    inputs.has(narrowName(name)) ? [[narrowName(name), int32(t)] as const] : [],
  )
  const own = Object.entries(feeds)
    .filter(([name]) => inputs.has(name))
    .map(([name, t]) => [name, inputs.get(name) === 'int32' ? int32(t) : t] as const)
  return Object.fromEntries([...own, ...narrow])
}
