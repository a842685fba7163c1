import { type ValidCase } from '@graft-peft/method-tester'

export const qv = { target_modules: ['q_proj', 'v_proj'] }
export const both = (config: Record<string, unknown>): ValidCase[] => [
  { config },
  { config, model: 'encoder' },
]

/** Balls so large that no embedding leaves them. */
export const near = { opt_projection_epsilon: 9, opt_projection_format_epsilon: 9 }
