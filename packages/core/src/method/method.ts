import type { Builder, Value } from '@graft-peft/onnx'
import type { Matrix } from 'ml-matrix'
import type { StoredTensor } from '../files/safetensors.js'
import type { Model } from '../model/model.js'
import type { WeightSlot } from '../model/site.js'
import type { Tensor, Tensors } from '../runtime/tensor.js'
import type { BufferOptions, VariableOptions } from './variables.js'
import { madeHere } from '../copy.js'

/** What a method gets to work with. */
export interface AttachContext {
  /** the model to adapt: a fork, free to be mapped */
  model: Model
  g: Builder
  /** Declares a trainable tensor; `name` is its key in HF PEFT's file, without the prefix base_model.model. */
  param(name: string, options: VariableOptions): Value
  /** Declares a frozen tensor of the adapter: read from its file where it has one, else made by `init`. */
  buffer(name: string, options: BufferOptions): Value
  /** Declares a tensor that `afterStep` updates: kept in checkpoints, not in the adapter's file. */
  state(name: string, options: VariableOptions): Value
  /** Zeroes a share p of x and scales the rest by 1/(1−p) while training; x itself otherwise. */
  dropout(x: Value, p: number, name: string): Value
  /** Standard normal numbers in the shape of x while training, new ones each step; zeros otherwise. */
  noise(x: Value, name: string): Value
  /** The task each row of the batch belongs to, int64 [batch]; for methods that say how many `tasks` there are. */
  taskIds(): Value
  /** optimiser steps of the whole run */
  totalSteps: number
  /** whether an adapter's file is attached for use: variables are then what the file holds, not what training needed */
  inference: boolean
  /** what the method's own `prepare` returned; undefined for an adapter read from its file */
  prepared: unknown
}

/** What a method may look at before it is attached: the base model, run as it is. */
export interface PrepareContext {
  /** a fork of the base; anything done to it is thrown away */
  model: Model
  g: Builder
  /** Token ids of a text. Throws NO_TOKENIZER where the model has none. */
  tokenize(text: string): number[]
  /** The model's inputs for token sequences, padded. */
  feed(sequences: readonly (readonly number[])[]): Tensors
  /** The model's inputs for the first batches of the training data, an array entry each. */
  batches(count: number): Promise<Tensors[]>
  /**
   * Per position of the same batches [batch, length], 1 where it is real and, where tokens are supervised,
   * supervised; else 0.
   */
  masks(count: number): Promise<Tensor[]>
  /** Computes values of the graph. */
  run(values: Record<string, Value>, feeds: Tensors): Promise<Tensors>
  seed: number
}

/** A weight of the base model and what adaptation makes of it, in torch's orientation. */
export type MergedWeight = readonly [slot: WeightSlot, form: (w: Value) => Value]

/** Work inside the compiled step, once the optimiser has updated the parameters. */
export interface AfterStep {
  /** numbers fed at step t = 1, 2, … of `total` */
  scalars(t: number, total: number): number[]
  /** New values for parameters and states, keyed by the values `param` and `state` returned. */
  update(step: {
    /** ∂loss/∂p, clipped as the optimiser saw it */
    gradient(p: Value): Value
    /** p after the optimiser */
    updated(p: Value): Value
    /** as computed by the host, each a tensor of one element */
    scalars: readonly Value[]
  }): Map<Value, Value>
}

/** What the adapter's file holds where that isn't the parameters and buffers by name. */
export interface SavedForm {
  /**
   * tensors by full key, computed from the parameters: in place of variables of that key and of buffers that
   * are `replaced`, or besides
   */
  tensors?: Record<string, Value>
  /** Last touches on the host: may cut or drop tensors. Returns options to write into adapter_config.json. */
  finish?(tensors: Map<string, StoredTensor>): Record<string, unknown>
}

/** What attaching leaves behind: how the adapter merges, is saved, and is updated beyond gradients. All optional. */
export interface Adapter {
  /** The form in the weights of what maps inputs and outputs, for merging; weights that are mapped themselves go without saying.
   *  Absent where there is no such form (prompts). */
  merge?(): MergedWeight[]
  /** a scalar added to the loss */
  penalty?: Value
  afterStep?: AfterStep
  save?(): SavedForm
  /** Whether the adapter after step t of `total` is one to keep; evaluations before that can't be the best. */
  settled?(t: number, total: number): boolean
  /** Rank in use per module, for methods that change it while training; `read` gives a parameter's numbers. */
  ranks?(read: (p: Value) => Float32Array): Record<string, number>
}

/** Dummy tokens that stand in front of every text. */
export interface VirtualTokens {
  count: number
  /** whether they run through the model as tokens do, so that the last of them predicts the text's first token */
  predictive: boolean
  /** tokens they are to predict as a text's own are, −100 for none; none when left out */
  labels?: readonly number[]
}

/** No virtual tokens: of every method that has no prompts. */
export const noVirtualTokens: VirtualTokens = { count: 0, predictive: false }

/**
 * What an adapter adds to one linear layer's weight, as a product: ΔW = up·down, in torch's orientation,
 * scales included.
 */
export interface LowRankUpdate {
  /** the layer's module path */
  path: string
  /** [rank, in] */
  down: Matrix
  /** [out, rank] */
  up: Matrix
}
/**
 * A method whose files say low-rank updates as they are: adapters of others can be turned into it, and its
 * own be added up exactly.
 */
export interface LowRankForm {
  /** A file's updates under its options; undefined where it holds more than those (a magnitude, a bias). */
  read(
    tensors: ReadonlyMap<string, StoredTensor>,
    options: Record<string, unknown>,
  ): LowRankUpdate[] | undefined
  /** The file that says these updates: its tensors, and the options under which they mean that. */
  write(updates: readonly LowRankUpdate[]): {
    tensors: Map<string, StoredTensor>
    options: Record<string, unknown>
  }
}

/** A parameter-efficient fine-tuning method: edits a forward graph and declares variables. All else is the core's. */
export interface PeftMethod<Config = Record<string, unknown>> {
  kind: 'method'
  name: string
  apiVersion: 1
  /** HF PEFT's peft_type, the name in adapter_config.json */
  peftType: string
  /** JSON Schema of the options; defaults are filled in, unknown keys refused */
  configSchema: object
  /** names that others give a variant of it, and how it is written here */
  aliases?: Readonly<Record<string, string>>
  /** options that HF PEFT's config class doesn't have: they stay out of adapter_config.json */
  ownOptions?: readonly string[]
  /** options of HF PEFT's config that only training reads: an adapter's file may say anything there */
  trainingOptions?: readonly string[]
  /** whether the adapted model equals the base before training, under this config */
  startsAsIdentity: (config: Config) => boolean
  /** whether an adapter can be folded into the base's weights */
  mergeable: boolean
  /** what `graft methods` says of it, in a few words */
  summary: string
  /** under which heading `graft methods` lists it: low rank, orthogonal, prompts, … */
  family?: string
  /** address of the paper */
  paper?: string
  /** learning rate of a training config that names none */
  learningRate?: number
  /**
   * Options that train better than HF PEFT's defaults, from the options as a config gives them, completed.
   * They take the place of those that a config leaves open, where an adapter is to be trained; what an
   * adapter's own file leaves open means HF PEFT's default.
   */
  start?(config: Config): Partial<Config>
  /** dummy tokens to feed in front of every text, whose embeddings, keys or values the method replaces */
  virtualTokens?(config: Config): VirtualTokens
  /** how many tasks the examples may belong to: each says which in its field task, from 0, where there are several */
  tasks?(config: Config): number
  /** whether it needs all of a text at once: written texts are read again for each token, without a cache */
  wholeTexts?: boolean
  /** Looks at the base model before training. Not called for an adapter read from its file. */
  prepare?(context: PrepareContext, config: Config): Promise<unknown>
  attach(context: AttachContext, config: Config): Adapter
  /** how its files say low-rank updates, if they do */
  lowRank?: LowRankForm
}

/** Gives a method its types and its kind; a method package default-exports the result. */
export const definePeftMethod = <Config>(method: Omit<PeftMethod<Config>, 'kind'>): PeftMethod<Config> => ({
  kind: 'method',
  ...method,
  ...madeHere,
})
