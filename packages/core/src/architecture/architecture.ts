import type { Builder, Value } from '@graft-peft/onnx'
import type { Settings } from './settings.js'
import type { Weights } from './weights.js'

/** What a model is to be built for. */
export type Task =
  | 'causal-lm'
  | 'masked-lm'
  | 'sequence-to-sequence'
  | 'sequence-classification'
  | 'token-classification'
  | 'image-classification'
  | 'features'

export interface ArchitectureContext {
  g: Builder
  /** config.json */
  config: Settings
  weights: Weights
  /** the head to build */
  task: Task
  /** classes of a classifier */
  labels: number
  /** Build for generation: past keys and values are inputs, present ones outputs, as Optimum and transformers.js name them. */
  cache: boolean
}

/** A family of models: builds its forward graph from config.json and weights. One file each. */
export interface Architecture {
  kind: 'architecture'
  apiVersion: 1
  name: string
  /** the model_type of config.json that it reads */
  modelTypes: readonly string[]
  tasks: readonly Task[]
  /** the path of the bare model within its …For… classes; checkpoints of the bare model leave it out */
  prefix: string
  /** other names of a parameter in checkpoints, most likely first, besides its path in the model */
  names?(parameter: string): readonly string[]
  /** Adds inputs and nodes to c.g; the result becomes the graph's outputs, by name ("logits", or "hidden" for features). */
  build(c: ArchitectureContext): Record<string, Value>
}

/** Gives an architecture its types and its kind; a package default-exports the result. */
export const defineArchitecture = (
  architecture: Omit<Architecture, 'kind' | 'apiVersion'>,
): Architecture => ({ kind: 'architecture', apiVersion: 1, ...architecture })
