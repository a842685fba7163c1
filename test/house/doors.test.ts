import { describe, expect, it } from 'vitest'
import { apiOf, doors } from './api.js'

describe('the three doors of the core', () => {
  it.each(doors)('$door exports what its list says', async ({ door, list }) => {
    const names = apiOf(door).map(({ name, kind }) => `${name}: ${kind}`)
    await expect(`${names.join('\n')}\n`).toMatchFileSnapshot(`doors/${list}`)
  })

  it('have no name in common', () => {
    const names = doors.flatMap(({ door }) => apiOf(door).map(({ name }) => name))
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
  })
})
