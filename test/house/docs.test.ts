import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configSchema } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { root } from '../fixture.js'
import { snippetsOf } from './snippets.js'

type Schema = { properties?: Record<string, Schema>; anyOf?: Schema[] }
const keysOf = (schema: Schema, prefix = ''): string[] =>
  Object.entries(schema.properties ?? {}).flatMap(([key, inner]) =>
    inner.properties ? keysOf(inner, `${prefix}${key}.`) : [`${prefix}${key}`],
  )

/** Keys in the first column of the page's table; one without a dot lies beside the one before it. */
function documented(): string[] {
  const rows = readFileSync(join(root, 'docs/config.md'), 'utf8').matchAll(/^\| (`[^|]+?) *\|/gm)
  return [...rows].flatMap(([, cell]) => {
    const keys = [...cell.matchAll(/`([^`]+)`/g)].map(([, key]) => key)
    const prefix = keys[0].slice(0, keys[0].lastIndexOf('.') + 1)
    return keys.map((key) => (key.includes('.') ? key : `${prefix}${key}`))
  })
}

describe('docs', () => {
  it('docs/config.md has every key of a config and no other', () => {
    const own = keysOf(configSchema as Schema)
    const written = documented().filter((key) => own.includes(key) || !key.startsWith('compare'))
    expect([...written].sort()).toEqual([...own].sort())
  })

  const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((file) => `docs/${file}`)].filter(
    (page) => page.endsWith('.md'),
  )
  it.each(pages)('%s: its YAML and JSON parse', (page) => {
    for (const { language, text, line } of snippetsOf(page))
      if (language === 'yaml' || language === 'json')
        expect(() => (language === 'yaml' ? parse(text) : JSON.parse(text)), `${page}:${line}`).not.toThrow()
  })
  it.each(pages)('%s: what it links to is there', (page) => {
    const text = readFileSync(join(root, page), 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(([, path]) => path)
    expect(links.filter((path) => !existsSync(join(root, dirname(page), path)))).toEqual([])
  })

  it('decisions have a number each, and a status in the index', () => {
    const index = readFileSync(join(root, 'docs/decisions/README.md'), 'utf8')
    const pages = readdirSync(join(root, 'docs/decisions')).filter((file) => /^\d{4}/.test(file))
    const rows = index.matchAll(
      /^\| (\d{4}) +\| \[.+\]\((\1-[\w-]+\.md)\) +\| (?:stands|replaced by \S.*?) +\|$/gm,
    )
    const listed = [...rows].map(([, number, page]) => ({ number, page }))
    expect(listed.map(({ page }) => page)).toEqual(pages.sort())
    expect(new Set(listed.map(({ number }) => number)).size).toBe(pages.length)
  })
})
