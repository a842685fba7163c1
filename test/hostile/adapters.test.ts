import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openAdapter } from '@graft-peft/core/app'
import { expect, it } from 'vitest'
import { sprout, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'

it.each([{}, 'lm_head', [3]])('modules_to_save that is no list of names: %j', async (modules_to_save) => {
  const folder = join(temporaryFolder(), 'adapter')
  mkdirSync(folder)
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: 2,
    target_modules: ['q_proj'],
    modules_to_save,
  }
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config))
  await expect(openAdapter(folder, registry, sprout)).rejects.toThrow(
    /adapter_config\.json: modules_to_save should be a list of names/,
  )
})
