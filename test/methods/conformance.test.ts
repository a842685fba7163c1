import { type PeftMethod } from '@graft-peft/core'
import { validate } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { testMethod } from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'
import { cases } from './conformance-cases.js'

const methods = defaultRegistry().all('method')
for (const method of methods)
  testMethod({ describe, it }, method as PeftMethod, cases[method.name] ?? { valid: [] })

it('every built-in method is checked', () =>
  expect(Object.keys(cases).sort()).toEqual(methods.map((m) => m.name).sort()))

it.each(methods)('$name refuses every option of a wrong type, by name', ({ configSchema }) => {
  for (const option of Object.keys((configSchema as { properties: object }).properties)) {
    const result = validate(configSchema, { token_indices: [1], [option]: [{}] })
    expect('complaints' in result && result.complaints.some((c) => c.path[0] === option), option).toBe(true)
  }
})
