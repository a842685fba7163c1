import { type TestCases } from '@graft-peft/method-tester'

const away = { init_weights: 'bert', reduction_factor: 4 }
const phm = { ...away, phm_layer: true, phm_init_range: 0.5 }

/** Adapters between layers. */
export const adapters: Record<string, TestCases> = {
  bottleneck: {
    // The toys have no attention to an encoder.
    idle: ['cross_adapter'],
    valid: [
      { config: away },
      { config: { ...away, init_weights: 'mam_adapter', dropout: 0.1 }, model: 'encoder' },
      {
        config: {
          ...away,
          mh_adapter: false,
          original_ln_before: true,
          non_linearity: 'tanh',
          scaling: 'learned',
        },
      },
      { config: { ...away, is_parallel: true, scaling: 'channel', ln_after: true } },
      { config: { ...away, ln_before: true, ln_after: true, adapter_residual_before_ln: true } },
      { config: { ...away, original_ln_before: true, residual_before_ln: false, leave_out: [1] } },
      { config: phm, model: 'encoder' },
      { config: { ...phm, phm_dim: 2, factorized_phm_W: false, factorized_phm_rule: true, phm_rank: 2 } },
      { config: { ...phm, phm_dim: 2, shared_phm_rule: false, shared_W_phm: true, learn_phm: false } },
      { config: { ...phm, phm_dim: 2, phm_bias: false, phm_c_init: 'uniform', phm_rank: 2 } },
    ],
    invalid: [
      { config: { mh_adapter: false, output_adapter: false }, error: /leave none of the model's 4 places/ },
      { config: { ...phm, phm_dim: 3 }, error: /phm_dim 3 must divide/ },
      { config: { use_gating: true }, error: /a mean over a text's padding/ },
      { config: { residual_before_ln: 'post_add' }, error: /post_add needs original_ln_before/ },
      { config: { reduction_factor: { 0: 4 } }, error: /says nothing of layer 1/ },
    ],
  },
  reft: {
    valid: [
      { config: { r: 2, dropout: 0 } },
      { config: { r: 1 }, model: 'encoder' },
      { config: { r: 2, orthogonality: false, non_linearity: 'relu', layers: [1] } },
      { config: { r: 2, subtract_projection: false, tied_weights: true, suffix_positions: 2 } },
    ],
    invalid: [{ config: { prefix_positions: 0 }, error: /are both 0/ }],
  },
}
