import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { validate } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { root } from '../fixture.js'

const folder = join(root, 'docs/methods')
const methods = defaultRegistry().all('method')

it('every method has a page and every page a method', () => {
  expect(readdirSync(folder).sort()).toEqual(methods.map((m) => `${m.name}.md`).sort())
})

describe.each(methods)('docs/methods/$name.md', ({ name, configSchema, learningRate }) => {
  const page = readFileSync(join(folder, `${name}.md`), 'utf8')
  it('lists every option and no other', () => {
    const listed = [...page.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1])
    expect(listed.sort()).toEqual(Object.keys((configSchema as { properties: object }).properties).sort())
  })
  it('shows a config that is valid as it stands', () => {
    const { method, training } = parse(page.match(/```yaml\n(.*?)```/s)?.[1] ?? '')
    const { name: shown, ...options } = method
    expect(shown).toBe(name)
    expect(validate(configSchema, options)).toHaveProperty('value')
    expect(training.learning_rate).toBe(learningRate)
  })
})
