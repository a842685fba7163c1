import { targetSchema } from './targets.js'

/** Pieces of a method's JSON Schema, named for what they hold. */
export const positive = (value: number) => ({ type: 'integer', minimum: 1, default: value }) as const
/** A whole number from 0, with its default; null as default allows null. */
export const whole = (value: number | null) =>
  ({ type: value === null ? ['integer', 'null'] : 'integer', minimum: 0, default: value }) as const
/** Any number, with its default. */
export const real = (value: number) => ({ type: 'number', default: value }) as const
/** A number from 0 to below 1, with its default. */
export const share = (value: number) =>
  ({ type: 'number', minimum: 0, exclusiveMaximum: 1, default: value }) as const
/** true or false, with its default. */
export const flag = (value: boolean) => ({ type: 'boolean', default: value }) as const
/** One of these values, with its default. */
export const oneOf = <T>(values: readonly T[], value: T) => ({ enum: values, default: value }) as const
const nameList = {
  anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }],
  default: null,
} as const
/** HF PEFT's option `bias`; `only` trains the biases of adapted layers. */
export const biasOption = (only: string) => oneOf(['none', 'all', only], 'none')
/** Overrides by module: path ends or regular expressions to numbers. */
export const pattern = {
  type: 'object',
  additionalProperties: { type: 'number' },
  default: {},
} as const

/** An option that takes one value alone, and why no other. */
export const only = <T>(value: T, why: string) => ({ const: value, default: value, why }) as const

/** A method's options: these and no others; for those of HF PEFT's that are `refused`, why. */
export const optionSchema = (properties: object, refused: Readonly<Record<string, string>> = {}) => ({
  type: 'object',
  additionalProperties: false,
  properties: { ...properties, modules_to_save: nameList },
  refused,
})
/** The same for a method that adapts chosen modules. */
export const targetedSchema = (properties: object, refused?: Readonly<Record<string, string>>) =>
  optionSchema({ ...properties, ...targetSchema }, refused)
