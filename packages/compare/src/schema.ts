import { precisions } from '@graft-peft/core/app'
import { configSchema, pluginEntry } from '@graft-peft/core/inside'

export const count = { type: 'integer', minimum: 1 } as const

export const rate = { type: 'number', exclusiveMinimum: 0 } as const

export const budget = {
  type: 'object',
  additionalProperties: false,
  properties: { steps: count, tokens: count, minutes: rate },
  minProperties: 1,
  maxProperties: 1,
}

export const methodEntry = {
  anyOf: [
    { type: 'string' },
    {
      type: 'object',
      properties: {
        name: { type: 'string' },
        label: { type: 'string', minLength: 1 },
        learning_rate: rate,
        precision: { enum: [...precisions] },
      },
      required: ['name'],
    },
  ],
}

export const compareKeys = {
  methods: { type: 'array', items: methodEntry, minItems: 1 },
  seeds: {
    anyOf: [
      { ...count, maximum: 1000 },
      { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 1000, uniqueItems: true },
    ],
    default: 3,
  },
  learning_rates: {
    anyOf: [{ const: 'preset' }, { type: 'array', items: rate, minItems: 1, uniqueItems: true }],
    default: 'preset',
  },
  budget: { anyOf: [budget, { type: 'null' }], default: null },
  exclude: { type: 'array', items: { enum: ['base', 'full'] }, default: [] },
  forgetting: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null },
  forgetting_examples: { ...count, default: 200 },
  samples: { type: 'integer', minimum: 0, default: 8 },
  launcher: { ...pluginEntry, default: 'local' },
}

export const { method: _, ...trainingKeys } = configSchema.properties as Record<string, object>

/** A training config without its method, and what to compare. */
export const comparisonSchema = {
  ...configSchema,
  properties: {
    ...trainingKeys,
    compare: { type: 'object', additionalProperties: false, properties: compareKeys, required: ['methods'] },
  },
  required: ['model', 'data', 'compare'],
}
