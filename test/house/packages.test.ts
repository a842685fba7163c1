import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { defaultRegistry } from 'graft-peft'
import { expect, it } from 'vitest'
import { root } from '../fixture.js'

it.each([
  ['all packages are alike', 'packages.mjs'],
  ['every code of an error is in the catalogue and the type', 'errors.mjs'],
])('%s: scripts/%s finds nothing to write', (_, script) => {
  const path = join(root, 'scripts', script)
  expect(() => execFileSync(process.execPath, [path, '--check'], { stdio: 'pipe' })).not.toThrow()
})

it('every plugin that the program depends on is built in, under its own name', () => {
  const origins = new Set(
    defaultRegistry()
      .list()
      .map((plugin) => plugin.package),
  )
  for (const name of ['lora', 'adalora', 'architectures', 'trackers', 'compare', 'bullmq'])
    expect(origins).toContain(`@graft-peft/${name}`)
  expect(origins).not.toContain('@graft-peft/method-tester')
})
