import type { Builder, Value } from '@graft-peft/onnx'
import type { Fields } from './harmless.js'
import type { Settings } from './settings.js'
import type { Weights } from './weights.js'
import { madeHere } from '../copy.js'

/** What a model is to be built for. */
export type Task =
  | 'causal-lm'
  | 'masked-lm'
  | 'sequence-to-sequence'
  | 'sequence-classification'
  | 'token-classification'
  | 'image-classification'
  | 'features'

/** What an architecture gets to build its graph with. */
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
  /** the language part's path in the bare model, where it is a part */
  within?: string
}

/** What an output layer of its own means for a model whose config.json says more by tie_word_embeddings than tying. */
export interface Untied {
  /** other keys of config.json to change */
  config: Record<string, unknown>
  /** what the output layer's weight is multiplied by */
  scale: number
}

/** A family of models: builds its forward graph from config.json and weights. One file each. */
export interface Architecture {
  kind: 'architecture'
  apiVersion: 1
  name: string
  /** the model_type of config.json that it reads */
  modelTypes: readonly string[]
  tasks: readonly Task[]
  /** a repository of the Hub for each model_type, for `graft models` */
  examples?: Readonly<Record<string, string>>
  /** the path of the bare model within its …For… classes; checkpoints of the bare model leave it out */
  prefix: string
  /** other names of a parameter in checkpoints, most likely first, besides its path in the model */
  names?(parameter: string): readonly string[]
  /**
   * Defaults of transformers' config class, by model_type: a key that config.json leaves out has this value, and one that nothing reads
   * must have it. Keys in neither are refused by name.
   */
  defaults?: Readonly<Record<string, Fields>>
  /** keys that transformers' model reads nowhere, whatever their value; nested ones by their dotted path */
  ignores?: readonly string[]
  /** Whether a tensor that checkpoints hold is no part of what a task computes: buffers, a pooler. What lies outside `prefix` never is. */
  unused?(tensor: string, task: Task): boolean
  /** Tokens that a model has positions for, where that isn't max_position_embeddings; undefined for any number. */
  positions?(config: Settings): number | undefined
  /** what goes with taking the output layer and the embedding apart, where it is more than tie_word_embeddings: false */
  untied?(config: Settings): Untied
  /** Adds inputs and nodes to c.g; the result becomes the graph's outputs, by name ("logits", or "hidden" for features). */
  build(c: ArchitectureContext): Record<string, Value>
}

/** Gives an architecture its types and its kind; a package default-exports the result. */
export const defineArchitecture = (
  architecture: Omit<Architecture, 'kind' | 'apiVersion'>,
): Architecture => ({ kind: 'architecture', apiVersion: 1, ...architecture, ...madeHere })
