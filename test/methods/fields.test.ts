import { methodOptions } from '@graft-peft/core/inside'
import { type PeftMethod } from '@graft-peft/core'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../fixture.js'

const { classes } = JSON.parse(readFileSync(join(root, 'test/golden/config_fields.json'), 'utf8')) as {
  classes: Record<string, object>
}
interface Schema {
  properties: Record<string, { const?: unknown; why?: string; default?: unknown }>
  refused: Record<string, string>
}
const all = new Map(
  defaultRegistry()
    .all('method')
    .map((m) => [m.peftType, m as PeftMethod]),
)

describe.each([...all].filter(([type]) => type in classes))('%s', (type, method) => {
  const { properties, refused } = method.configSchema as Schema
  it('no field of HF PEFT’s is absent: each is used, or refused with a reason', () => {
    for (const field of Object.keys(classes[type])) {
      const option = properties[field]
      expect(field in properties !== field in refused, field).toBe(true)
      if (!option || 'const' in option) expect(refused[field] ?? option?.why, field).toMatch(/\w{2,}/)
    }
  })
  it('what is refused says why', () => {
    for (const [field, why] of Object.entries(refused))
      expect(() => methodOptions(method, { [field]: 1 }), field).toThrow(`${field} is refused: ${why}`)
  })
})
it('types that have no method here', () =>
  expect(Object.keys(classes).filter((type) => !all.has(type))).toEqual(['SHADOW']))
