import { flag, oneOf, only, optionSchema, positive, real, share } from '@graft-peft/core'
import { type Activation, activations } from './activations.js'

/** AdapterHub's BnConfig under its own names. */
export interface BottleneckOptions {
  mh_adapter: boolean
  output_adapter: boolean
  cross_adapter: boolean
  reduction_factor: number | Record<string, number>
  non_linearity: Activation
  is_parallel: boolean
  original_ln_before: boolean
  residual_before_ln: boolean | 'post_add'
  ln_before: boolean
  ln_after: boolean
  adapter_residual_before_ln: boolean
  scaling: number | 'learned' | 'channel'
  init_weights: 'bert' | 'mam_adapter' | 'houlsby'
  leave_out: readonly number[]
  dropout: number
  phm_layer: boolean
  phm_dim: number
  phm_rank: number
  phm_bias: boolean
  factorized_phm_W: boolean
  shared_W_phm: boolean
  shared_phm_rule: boolean
  factorized_phm_rule: boolean
  learn_phm: boolean
  phm_c_init: 'normal' | 'uniform'
  phm_init_range: number
}

const factor = { type: 'number', exclusiveMinimum: 0 } as const
/** Fields of BnConfig that aren't built, or mean nothing here, and why. */
export const refused = {
  use_gating:
    "its gate is a mean over a text's padding too: what a row gives would depend on the rows beside it",
  inv_adapter: "invertible adapters behind the embedding aren't built",
  inv_adapter_reduction_factor: 'it belongs to inv_adapter',
  stochastic_depth: "it is for images of residual networks; dropout drops here, and doesn't skip layers",
  hypercomplex_nonlinearity: "AdapterHub's code draws from Xavier's normal numbers whatever it says",
  init_weights_seed: "the run's seed is every method's: seed, beside the method",
}

/** Defaults are Houlsby's. */
export const schema = optionSchema(
  {
    mh_adapter: flag(true),
    output_adapter: flag(true),
    cross_adapter: flag(false),
    reduction_factor: {
      anyOf: [factor, { type: 'object', additionalProperties: factor, minProperties: 1 }],
      default: 16,
    },
    non_linearity: oneOf(Object.keys(activations), 'swish'),
    is_parallel: flag(false),
    original_ln_before: flag(false),
    original_ln_after: only(true, 'without it a layer would lose what it was given'),
    residual_before_ln: oneOf([true, false, 'post_add'], true),
    ln_before: flag(false),
    ln_after: flag(false),
    adapter_residual_before_ln: flag(false),
    scaling: { anyOf: [{ type: 'number' }, { enum: ['learned', 'channel'] }], default: 1 },
    init_weights: oneOf(['bert', 'mam_adapter', 'houlsby'], 'bert'),
    leave_out: { type: 'array', items: { type: 'integer', minimum: 0 }, default: [] },
    dropout: share(0),
    phm_layer: flag(false),
    phm_dim: positive(4),
    phm_rank: positive(1),
    phm_bias: flag(true),
    factorized_phm_W: flag(true),
    shared_W_phm: flag(false),
    shared_phm_rule: flag(true),
    factorized_phm_rule: flag(false),
    learn_phm: flag(true),
    phm_c_init: oneOf(['normal', 'uniform'], 'normal'),
    phm_init_range: real(1e-4),
  },
  refused,
)
