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
} from '@graft-peft/core'
import { refused } from './refused.js'
import type { TokenIndices } from './tokens.js'

/** HF PEFT's LoraConfig under its own names, and LoRA+'s ratio of learning rates. */
export interface LoraOptions extends TargetOptions, BiasOption {
  r: number
  lora_alpha: number
  lora_dropout: number
  use_rslora: boolean
  use_dora: boolean
  rank_pattern: Record<string, number>
  alpha_pattern: Record<string, number>
  lora_bias: boolean
  init_lora_weights: boolean | string
  eva_config: { rho: number } | null
  loraplus_lr_ratio: number
  lora_fa: boolean
  use_bdlora: {
    target_modules_bd_a: readonly string[] | null
    target_modules_bd_b: readonly string[] | null
    nblocks: number
    match_strict: boolean
  } | null
  kasa_config: { beta: number; gamma: number } | null
  trainable_token_indices: TokenIndices | null
}

/** HF PEFT's starts that aren't built here. Its adapters begun so are none the less plain low-rank updates. */
export const otherStarts = ['lora_ga']
/** Options of starts. */
export const startOptions = ['eva_config', 'loftq_config', 'corda_config', 'lora_ga_config']

const names = {
  anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }],
  default: null,
} as const
const tokens = {
  type: 'array',
  items: { type: 'integer', minimum: 0 },
  minItems: 1,
  uniqueItems: true,
} as const

export const schema = targetedSchema(
  {
    r: positive(8),
    lora_alpha: real(8),
    lora_dropout: share(0),
    use_rslora: flag(false),
    use_dora: flag(false),
    rank_pattern: { ...pattern, additionalProperties: { type: 'integer', minimum: 1 } },
    alpha_pattern: pattern,
    bias: biasOption('lora_only'),
    lora_bias: flag(false),
    fan_in_fan_out: flag(false),
    init_lora_weights: {
      anyOf: [
        { type: 'boolean' },
        { enum: ['gaussian', 'pissa', 'olora', 'orthogonal', 'eva', 'mica', ...otherStarts] },
        { type: 'string', pattern: '^pissa_niter_[1-9][0-9]*$' },
      ],
      default: true,
    },
    eva_config: {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: { rho: { ...real(2), minimum: 1 }, use_label_mask: { const: true, default: true } },
      default: null,
    },
    loraplus_lr_ratio: { ...real(1), exclusiveMinimum: 0 },
    lora_fa: flag(false),
    use_bdlora: {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: {
        target_modules_bd_a: names,
        target_modules_bd_b: names,
        nblocks: positive(1),
        match_strict: flag(true),
      },
      default: null,
    },
    kasa_config: {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: { beta: { ...real(1e-4), minimum: 0 }, gamma: { ...real(1e-3), minimum: 0 } },
      default: null,
    },
    trainable_token_indices: {
      anyOf: [tokens, { type: 'object', additionalProperties: tokens, minProperties: 1 }, { type: 'null' }],
      default: null,
    },
  },
  refused,
)
