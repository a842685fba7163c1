import type { Builder, Value } from '@graft/onnx'
import type { Model } from '../model/model.js'
import type { WeightSlot } from '../model/site.js'
import type { VariableOptions } from './variables.js'

/** What a method gets to work with. */
export interface AttachContext {
  /** the model to adapt: a fork, free to be mapped */
  model: Model
  g: Builder
  /** Declares a trainable tensor; `name` is its key in HF PEFT's file, without the prefix base_model.model. */
  param(name: string, options: VariableOptions): Value
  /** Zeroes a share p of x and scales the rest by 1/(1−p) while training; x itself otherwise. */
  dropout(x: Value, p: number, name: string): Value
  /** optimiser steps of the whole run */
  totalSteps: number
}

/** A weight of the base model and what adaptation makes of it, in torch's orientation. */
export type MergedWeight = readonly [slot: WeightSlot, form: (w: Value) => Value]

export interface Adapter {
  /** The weight-space form, for merging. Absent where there is none (prompts). */
  merge?(): MergedWeight[]
}

/** A parameter-efficient fine-tuning method: edits a forward graph and declares variables. All else is the core's. */
export interface PeftMethod<Config = Record<string, unknown>> {
  name: string
  apiVersion: 1
  /** HF PEFT's peft_type, the name in adapter_config.json */
  peftType: string
  /** JSON Schema of the options; defaults are filled in, unknown keys refused */
  configSchema: object
  /** whether the adapted model equals the base before training, under this config */
  startsAsIdentity: (config: Config) => boolean
  paper?: string
  attach(context: AttachContext, config: Config): Adapter
}

/** Gives a method its types; a method package default-exports the result. */
export const definePeftMethod = <Config>(method: PeftMethod<Config>): PeftMethod<Config> => method
