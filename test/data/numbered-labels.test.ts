import { expect, it } from 'vitest'
import { orderedLabels } from '../../packages/core/src/data/labels.js'

const head = ['joy', 'anger', 'fear', 'shame']
const ordered = (found: readonly string[], stored = head, given: string[] | null = null) => {
  const said: string[] = []
  const labels = orderedLabels({ found: new Set(found), given, stored }, (text) => said.push(text))
  return { labels, said: said.join('\n') }
}

it('numbers are rows of a named head where they reach its last ones, or leave some out', () => {
  for (const found of [
    ['0', '1', '2', '3'],
    ['0', '3'],
    ['2', '1'],
  ]) {
    const { labels, said } = ordered(found)
    expect(labels).toEqual(head)
    expect(said).toMatch(/taken for the checkpoint's 0 joy, 1 anger/)
  }
})
it('the first few numbers of a larger head may be classes of another task: asked, and answered by data.labels', () => {
  expect(() => ordered(['1', '0'])).toThrow(
    /numbers 0 to 1, the checkpoint's head has 4 classes \(joy, anger.*data\.labels/,
  )
  expect(ordered(['1', '0'], head, head).labels).toEqual(head)
  expect(ordered(['1', '0'], head, ['0', '1']).labels).toEqual(['0', '1'])
  expect(ordered(['1', '0'], ['LABEL_0', 'LABEL_1', 'LABEL_2']).labels).toEqual(['0', '1', '2'])
})
