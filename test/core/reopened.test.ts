import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileKey } from '@graft-peft/core'
import { openAdapter } from '@graft-peft/core/app'
import { adapt, fillVariables, savedForm, writeSafetensors } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'
import { attachingOf, openTiny, registry } from '../tiny.js'

it.each([
  ['llama-tied-linear', 'full', {}, 'model.embed_tokens.weight'],
  ['gptj', 'full', {}, 'lm_head.bias'],
  ['gptj', 'lora', { r: 2, bias: 'all' }, 'lm_head.bias'],
  ['llama', 'lora', { r: 2, modules_to_save: ['embed_tokens'] }, 'model.embed_tokens.weight'],
])('%s, %s %j: %s is what was trained, and the base as it was', async (architecture, name, options, key) => {
  const model = openTiny(architecture)
  const attaching = attachingOf(name, options)
  const adapted = adapt(model, { ...attaching, training: false })
  const parameters = adapted.variables.initial(0).map((v, i) => v + (i % 7) / 100)
  const { tensors } = await savedForm(adapted, parameters)
  const folder = temporaryFolder()
  writeSafetensors(join(folder, 'adapter_model.safetensors'), { tensors, metadata: {} })
  const { peftType } = attaching.method
  writeFileSync(
    join(folder, 'adapter_config.json'),
    JSON.stringify({ ...attaching.methodOptions, peft_type: peftType, task_type: 'CAUSAL_LM' }),
  )
  const base = join(root, 'test/golden/architectures', architecture, 'model')
  const opened = await openAdapter(folder, registry, base)
  const again = adapt(opened.model, { ...opened.options, training: false })
  expect(again.variables.list.map(fileKey)).toContain(`base_model.model.${key}`)
  expect(fillVariables(folder, opened.options.stored ?? new Map(), again)).toEqual(parameters)
  expect(again.variables.initial(0)).toEqual(adapted.variables.initial(0))
})
