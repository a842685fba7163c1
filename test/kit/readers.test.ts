import { defineReader, GraftError, type Reader } from '@graft-peft/core'
import { checkReader, type ReaderCase } from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'

describe('faults planted in a reader', () => {
  const reader = (read: Reader['read']) => defineReader({ name: 'own', endings: ['.own'], read })
  const file: ReaderCase = { name: 'a.own', content: 'x\ny', records: [{ text: 'x' }, { text: 'y' }] }
  const two = (path: string) => ['x', 'y'].map((text, i) => ({ fields: { text }, where: `${path}:${i + 1}` }))
  it('a sound reader passes', () =>
    checkReader(
      reader(async function* (path) {
        yield* two(path)
      }),
      file,
    ))
  it.each<[string, Reader, ReaderCase, RegExp]>([
    [
      'leaves a record out',
      reader(async function* (path) {
        yield two(path)[0]
      }),
      file,
      /is read as .*expected/,
    ],
    [
      'does not say where',
      reader(async function* (path) {
        yield* two(path).map((r) => ({ ...r, where: 'somewhere' }))
      }),
      file,
      /name the file and the line/,
    ],
    [
      'says one place for two',
      reader(async function* (path) {
        yield* two(path).map((r) => ({ ...r, where: path }))
      }),
      file,
      /all records have the same where/,
    ],
    [
      'yields rows that are no records',
      reader(async function* () {
        yield { text: 'x' } as never
      }),
      file,
      /should be \{ fields, where \}/,
    ],
    [
      'throws what says nothing',
      reader(() => {
        throw new TypeError('undefined is not iterable')
      }),
      file,
      /throw a GraftError/,
    ],
    [
      'takes what is broken',
      reader(async function* (path) {
        yield* two(path)
      }),
      { name: 'b.own', content: '', error: /b\.own:1/ },
      /should be refused/,
    ],
    [
      'refuses what is whole',
      reader((path) => {
        throw new GraftError('BAD_DATA_LINE', `${path}:1: no.`)
      }),
      file,
      /is refused/,
    ],
  ])('a reader that %s', async (_what, own, one, says) => {
    await expect(checkReader(own, one)).rejects.toThrow(says)
  })
})
