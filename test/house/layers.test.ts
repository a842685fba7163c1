import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'

/** Runs a check on a house of these files alone. */
function check(files: Record<string, string>, command: string, ...args: string[]) {
  const folder = temporaryFolder()
  for (const name of ['.dependency-cruiser.cjs', 'tsconfig.base.json'])
    copyFileSync(join(root, name), join(folder, name))
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' })
  return { status, said: stdout + stderr }
}
const cruise = (files: Record<string, string>) =>
  check(files, join(root, 'node_modules/.bin/depcruise'), '--config', '.dependency-cruiser.cjs', 'packages')

describe('the layering check refuses', () => {
  const model = { 'packages/core/src/model/model.ts': 'export interface Model { name: string }\n' }

  it('an import that goes up, of a type alone', () => {
    const { status, said } = cruise({
      ...model,
      'packages/core/src/numbers/planted.ts':
        "import type { Model } from '../model/model.js'\nexport const name = (m: Model) => m.name\n",
    })
    expect(status).not.toBe(0)
    expect(said).toMatch(/core-numbers-looks-up.*numbers\/planted\.ts.*model\/model\.ts/)
  })
  it('a circle of types alone', () => {
    const { status, said } = cruise({
      'packages/lora/src/one.ts': "import type { Two } from './two.js'\nexport interface One { two: Two }\n",
      'packages/lora/src/two.ts': "import type { One } from './one.js'\nexport interface Two { one: One }\n",
    })
    expect(status).not.toBe(0)
    expect(said).toMatch(/no-circles/)
  })
  it('a folder that has no floor', () => {
    const { status, said } = cruise({
      ...model,
      'packages/core/src/attic/planted.ts': "export type { Model } from '../model/model.js'\n",
    })
    expect(status).not.toBe(0)
    expect(said).toMatch(/core-has-no-floor-for-this/)
  })
  it('a second home for what operators are, as a list or as a chain of comparisons', () => {
    const file = join(temporaryFolder(), 'planted.ts')
    const run = (text: string) => {
      writeFileSync(file, text)
      const args = [join(root, 'scripts/operators.mjs'), file]
      return spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
    }
    expect(run("const activations = new Set(['Relu', 'Tanh'])\n").stderr).toMatch(/planted\.ts:1: Relu, Tanh/)
    expect(run("const f = (op: string) => op === 'MatMul' || op === 'Gemm'\n").status).toBe(1)
    expect(run("const f = (op: string) => op === 'MatMul' || op === 'no operator'\n").status).toBe(0)
  })
  it('nothing of a house in order', () => {
    const { status, said } = cruise({
      ...model,
      'packages/core/src/trainer/train.ts':
        "import type { Model } from '../model/model.js'\nexport const train = (m: Model) => m.name\n",
    })
    expect(said).toMatch(/no dependency violations/)
    expect(status).toBe(0)
  })
})
