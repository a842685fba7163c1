import { describe, expect, it } from 'vitest'
import { apiOf, checker, doors } from './api.js'
import ts from 'typescript'

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

  it('have no name in common', () => {
    const names = doors.flatMap(({ door }) => apiOf(door).map(({ name }) => name))
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
  })
})
