import { type TargetOptions, targetSchema } from '@graft/core'

/** HF PEFT's LoraConfig, as far as it is supported, under its own names. */
export interface LoraOptions extends TargetOptions {
  r: number
  lora_alpha: number
  lora_dropout: number
  use_rslora: boolean
  rank_pattern: Record<string, number>
  alpha_pattern: Record<string, number>
  bias: 'none' | 'all' | 'lora_only'
  fan_in_fan_out: boolean
  init_lora_weights: boolean | 'gaussian'
  modules_to_save: readonly string[] | null
}

const positive = { type: 'integer', minimum: 1 } as const
const pattern = (value: object) => ({ type: 'object', additionalProperties: value, default: {} })

export const schema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    r: { ...positive, default: 8 },
    lora_alpha: { type: 'number', exclusiveMinimum: 0, default: 8 },
    lora_dropout: { type: 'number', minimum: 0, exclusiveMaximum: 1, default: 0 },
    ...targetSchema,
    use_rslora: { type: 'boolean', default: false },
    rank_pattern: pattern(positive),
    alpha_pattern: pattern({ type: 'number', exclusiveMinimum: 0 }),
    bias: { enum: ['none', 'all', 'lora_only'], default: 'none' },
    fan_in_fan_out: { type: 'boolean', default: false },
    init_lora_weights: { enum: [true, false, 'gaussian'], default: true },
    modules_to_save: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }], default: null },
  },
} as const
