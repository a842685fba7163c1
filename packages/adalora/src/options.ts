import {
  type BiasOption,
  biasOption,
  flag,
  pattern,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  whole,
} from '@graft-peft/core'

/** HF PEFT's AdaLoraConfig. `total_step` is the run's own number of steps when left out. */
export interface AdaLoraOptions extends TargetOptions, BiasOption {
  init_r: number
  target_r: number
  lora_alpha: number
  lora_dropout: number
  tinit: number
  tfinal: number
  deltaT: number
  beta1: number
  beta2: number
  orth_reg_weight: number
  total_step: number | null
  /** per module path and ".lora_E": which rows are kept; written by training */
  rank_pattern: Record<string, readonly boolean[]> | null
  alpha_pattern: Record<string, number>
  init_lora_weights: boolean
}

const unread = 'AdaLoRA never reads it, in HF PEFT either; method: { name: lora } may have it'
const torch = "it is about PyTorch's devices; one machine computes the whole model here"
/** What HF PEFT's AdaLoraConfig inherits from LoraConfig. */
const refused = {
  ...Object.fromEntries(
    [
      ...['use_rslora', 'lora_bias', 'eva_config', 'corda_config', 'lora_ga_config', 'velora_config'],
      ...['alora_invocation_tokens', 'use_qalora', 'qalora_group_size', 'monteclora_config', 'use_bdlora'],
      ...['arrow_config', 'kasa_config', 'target_parameters', 'layer_replication', 'ensure_weight_tying'],
    ].map((name) => [name, unread]),
  ),
  use_dora: 'HF PEFT refuses it too',
  loftq_config: 'HF PEFT refuses it too',
  trainable_token_indices:
    "it isn't built beside AdaLoRA; method: { name: trainable_tokens } trains tokens alone",
  megatron_config: torch,
  megatron_core: torch,
  runtime_config: torch,
}

export const schema = targetedSchema(
  {
    init_r: positive(12),
    target_r: positive(8),
    lora_alpha: real(8),
    lora_dropout: share(0),
    tinit: whole(0),
    tfinal: whole(0),
    deltaT: positive(1),
    beta1: share(0.85),
    beta2: share(0.85),
    orth_reg_weight: { ...real(0.5), minimum: 0 },
    total_step: { type: ['integer', 'null'], minimum: 1, default: null },
    rank_pattern: { type: ['object', 'null'], default: null },
    alpha_pattern: pattern,
    init_lora_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('lora_only'),
    // LoraConfig's r, which AdaLoraConfig inherits and never reads.
    r: positive(8),
  },
  refused,
)
