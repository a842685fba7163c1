import { describe, expect, it } from 'vitest'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root } from '../fixture.js'
import { apiOf, checker, type Door, doors } from './api.js'
import { isCode, throwsOf, unsaid } from './throws.js'

/** The functions and classes of a door, where they are declared. */
const codeOf = (door: Door) =>
  apiOf(door)
    .map(({ name, symbol }) => ({
      name,
      declaration: (checker.getAliasedSymbol(symbol).declarations as ts.Declaration[])[0],
    }))
    .filter(({ declaration }) => isCode(declaration))
const known = readFileSync(join(root, 'packages/core/src/codes.ts'), 'utf8')

describe('the three doors of the core', () => {
  it.each(doors)('$door exports what its list says', async ({ door, list }) => {
    const names = apiOf(door).map(({ name, kind }) => `${name}: ${kind}`)
    await expect(`${names.join('\n')}\n`).toMatchFileSnapshot(`doors/${list}`)
  })

  it.each(['index', 'app'] as const)('%s: each name has a sentence', (door) => {
    const silent = apiOf(door).filter(({ symbol }) => {
      const sentence = checker.getAliasedSymbol(symbol).getDocumentationComment(checker)
      return ts.displayPartsToString(sentence) === ''
    })
    expect(silent.map(({ name }) => name)).toEqual([])
  })

  it.each(['index', 'app'] as const)('%s: each name says which errors it throws', (door) => {
    const silent = codeOf(door).flatMap(({ name, declaration }) => {
      const codes = [...new Set(unsaid(declaration))]
      return codes.length > 0 ? [`${name}: ${codes.join('; ')}`] : []
    })
    expect(silent).toEqual([])
  })
  it.each(['index', 'app'] as const)('%s: the errors that it names exist', (door) => {
    const unknown = codeOf(door).flatMap(({ name, declaration }) => {
      const codes = throwsOf(declaration).match(/\b[A-Z]+(_[A-Z0-9]+)*_[A-Z0-9]+\b/g) ?? []
      return codes.filter((code) => !known.includes(`'${code}'`)).map((code) => `${name}: ${code}`)
    })
    expect(unknown).toEqual([])
  })

  it('have no name in common', () => {
    const names = doors.flatMap(({ door }) => apiOf(door).map(({ name }) => name))
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
  })
})
