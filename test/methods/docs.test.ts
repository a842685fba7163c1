import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { validate } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { graft, root } from '../fixture.js'

const folder = join(root, 'docs/methods')
const methods = defaultRegistry().all('method')

it('every method has a page and every page a method', () => {
  expect(readdirSync(folder).sort()).toEqual(['README.md', ...methods.map((m) => `${m.name}.md`)].sort())
})

it('one table says of every method what its package says', () => {
  const table = readFileSync(join(folder, 'README.md'), 'utf8')
  const rows = [...table.matchAll(/^\| \[.*/gm)].map(([line]) => line.split('|').map((c) => c.trim()))
  const said = rows.map(([, link, family, , rate, merges]) => ({ link, family, rate: Number(rate), merges }))
  const own = methods.map(({ name, family, learningRate, mergeable }) => ({
    link: `[${name}](${name}.md)`,
    family,
    rate: learningRate,
    merges: mergeable ? 'yes' : 'no',
  }))
  const byLink = (a: { link: string }, b: { link: string }) => a.link.localeCompare(b.link)
  expect(said.sort(byLink)).toEqual(own.sort(byLink))
})

it('graft methods lists families, and prints the page of one', async () => {
  const { stdout } = await graft(['methods'])
  for (const { name, family } of methods)
    expect(stdout).toMatch(new RegExp(`\n${family}\n(?:.+\n)*  ${name} `))
  expect((await graft(['methods', 'road'])).stdout).toBe(readFileSync(join(folder, 'road.md'), 'utf8'))
  expect((await graft(['methods', 'raod'])).stderr).toMatch(/Did you mean road/)
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
