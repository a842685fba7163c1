import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openAdapter } from '@graft-peft/core/app'
import { adapt, fillVariables } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { sprout, temporaryFolder } from '../fixture.js'
import { attachingOf, openTiny, registry } from '../tiny.js'

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

it('sizes that no memory holds are a mismatch before they are memory', () => {
  const { variables, buffers } = adapt(openTiny('llama'), {
    ...attachingOf('lora', { r: 2, target_modules: ['q_proj'] }),
    training: false,
  })
  const list = variables.list.map((v) => ({ ...v, shape: [2 ** 31, 64] }))
  const claimed = { list, total: 2 ** 37 } as unknown as typeof variables
  expect(() =>
    fillVariables('adapter_model.safetensors', new Map(), { variables: claimed, buffers }),
  ).toThrow(/doesn't fit the model/)
})
