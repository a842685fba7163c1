import { cpSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { graft, root, temporaryFolder, writeRun } from '../fixture.js'

const plugins = [
  { kind: 'method', define: `definePeftMethod({ name: 'mine', apiVersion: 1 })` },
  { kind: 'objective', define: `defineObjective({ name: 'mine', classifies: true })` },
  { kind: 'metric', define: `defineMetric({ name: 'mine', better: 'higher' })` },
  { kind: 'architecture', define: `defineArchitecture({ name: 'mine', modelTypes: ['mine'] })` },
  { kind: 'tracker', define: `defineTracker({ name: 'mine' })` },
  { kind: 'launcher', define: `defineLauncher({ name: 'mine' })` },
]

it.each(plugins)('a $kind made with a copy of the core of its own is refused, both named', async (plugin) => {
  const folder = realpathSync(temporaryFolder())
  const copy = join(folder, 'plugin/node_modules/@graft-peft/core')
  mkdirSync(copy, { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const part of ['package.json', 'dist', 'templates'])
    cpSync(join(root, 'packages/core', part), join(copy, part), { recursive: true })
  const [define] = plugin.define.split('(')
  writeFileSync(
    join(folder, 'plugin/index.mjs'),
    `import { ${define} } from '@graft-peft/core'\nexport default ${plugin.define}\n`,
  )
  const config = writeRun(folder, { plugins: ['./plugin/index.mjs'], method: 'lora' })
  const { code, stderr } = await graft(['train', config])
  expect(code).toBe(1)
  expect(stderr).toContain(`The ${plugin.kind} mine from ./plugin/index.mjs was made with the copy`)
  expect(stderr).toContain(`at ${copy}/`)
  expect(stderr).toContain(`the one that runs is at ${realpathSync(join(root, 'packages/core'))}/`)
  expect(stderr).toContain('[SECOND_CORE]')
  expect(existsSync(join(folder, 'out'))).toBe(false)
})
