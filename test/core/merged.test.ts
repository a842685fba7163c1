import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { GraftError } from '@graft-peft/core'
import { merge, openAdapter } from '@graft-peft/core/app'
import { expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'

// Adapters as HF PEFT wrote them, the first of each method and family, opened and merged the way that graft merge takes.
const golden = join(root, 'test/golden')
const typeOf = (folder: string): string =>
  JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')).peft_type
const found = ['llama', 'bert', 'vit'].flatMap((family) =>
  readdirSync(join(golden, family))
    .map((name) => join(golden, family, name, 'end'))
    .filter((folder) => existsSync(join(folder, 'adapter_config.json')))
    .map((folder) => [family, typeOf(folder), folder] as const),
)
const adapters = new Map(found.toReversed().map((a) => [`${a[0]} ${a[1]}`, a])).values()

/** What depends on the input, or stands beside the weights, is no weight; nor is a bias that LLaMA's layers don't have. */
const unmergeable = new Set([
  'ADAPTION_PROMPT',
  'BOTTLENECK',
  'CARTRIDGE',
  'CPT',
  'LILY',
  'MULTITASK_PROMPT_TUNING',
  'POLY',
  'REFT',
  'XLORA',
  'llama BEFT',
])

it.each([...adapters])('%s: %s merges, or is refused and leaves nothing', async (family, type, folder) => {
  const opened = await openAdapter(folder, registry, join(golden, family, 'onnx/model.onnx'))
  const output = join(temporaryFolder(), 'merged')
  const said = await merge(opened, output, registry).then(
    ({ difference }) => difference < 1e-4,
    ({ code }: GraftError) => code,
  )
  expect(said).toBe(unmergeable.has(type) || unmergeable.has(`${family} ${type}`) ? 'NOT_MERGEABLE' : true)
  expect(existsSync(output)).toBe(said === true)
})
