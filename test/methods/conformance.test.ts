import { type PeftMethod } from '@graft-peft/core'
import { validate } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { testMethod } from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'
import { cases } from './conformance-cases.js'

const methods = defaultRegistry().all('method')
/** Options of HF PEFT that its files have and that mean nothing here: what they say is found in the graph, or is for torch. */
const idle = [
  'fan_in_fan_out',
  'token_dim',
  'num_attention_heads',
  'num_layers',
  'num_transformer_submodules',
  'tokenizer_kwargs',
  'progressbar',
]
for (const method of methods) {
  const own = cases[method.name] ?? { valid: [] }
  testMethod({ describe, it }, method as PeftMethod, { ...own, idle: [...idle, ...(own.idle ?? [])] })
}

it('every built-in method is checked', () =>
  expect(Object.keys(cases).sort()).toEqual(methods.map((m) => m.name).sort()))

it.each(methods)('$name refuses every option of a wrong type, by name', ({ configSchema }) => {
  for (const option of Object.keys((configSchema as { properties: object }).properties)) {
    const result = validate(configSchema, { token_indices: [1], [option]: [{}] })
    expect('complaints' in result && result.complaints.some((c) => c.path[0] === option), option).toBe(true)
  }
})
