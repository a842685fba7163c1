import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { graft, root } from '../fixture.js'

it('docs/models.md has the table that graft models prints', async () => {
  const page = readFileSync(join(root, 'docs/models.md'), 'utf8')
  const table = page.match(/<!-- graft models --markdown -->\n(.*?)<!-- end -->/s)?.[1] ?? ''
  const cells = (line: string) => line.split('|').map((cell) => cell.trim())
  const { stdout } = await graft(['models', '--markdown'])
  const documented = table.trim().split('\n').slice(2)
  expect(documented.map(cells)).toEqual(stdout.trim().split('\n').map(cells))
})
it('graft models finds types by their names and by names on the Hub', async () => {
  const { stdout } = await graft(['models', 'smollm', '--json'])
  expect(JSON.parse(stdout)).toMatchObject([
    {
      type: 'llama',
      example: 'HuggingFaceTB/SmolLM2-135M',
      for: ['language', 'texts', 'tokens', 'features'],
    },
    { type: 'smollm3' },
  ])
})
