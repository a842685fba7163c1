import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const source = (name: string, body = '') => `import { defineArchitecture } from '@graft-peft/core'
import { configClasses, decoderTasks, gatedDecoder, llamaLike } from '@graft-peft/architectures'
export default defineArchitecture({
  name: '${name}', modelTypes: ['${name}'], tasks: decoderTasks, prefix: 'model', defaults: { ${name}: configClasses.llama },
  build: (c) => { ${body} return gatedDecoder(c, { ...llamaLike(c.config), scale: c.config.number('attention_multiplier') }) },
})`

function setUp(name: string, body?: string): string {
  const at = temporaryFolder()
  mkdirSync(join(at, 'node_modules'))
  symlinkSync(join(root, 'node_modules/@graft-peft'), join(at, 'node_modules/@graft-peft'))
  writeFileSync(join(at, 'mine.mjs'), source(name, body))
  sproutFolder(join(at, 'model'), { model_type: 'mine', attention_multiplier: 0.2 })
  return at
}

describe('an architecture from outside, one file', () => {
  it('trains a model that nothing here knows', async () => {
    const at = setUp('mine')
    const settings = {
      model: 'model',
      method: { name: 'lora', target_modules: ['q_proj'] },
      training: { max_steps: 2 },
    }
    expect((await graft(['train', writeRun(at, settings)])).stderr).toMatch(
      /model_type "mine" has no architecture here.*plugin of one file/s,
    )
    sproutFolder(join(at, 'other'), {
      model_type: 'mine',
      attention_multiplier: 0.2,
      residual_multiplier: 0.3,
    })
    const other = await graft([
      'train',
      writeRun(at, { ...settings, model: 'other', plugins: ['./mine.mjs'] }),
    ])
    expect(other.stderr).toMatch(/doesn't read residual_multiplier: 0.3/)
    const { code, stderr } = await graft(['train', writeRun(at, { ...settings, plugins: ['./mine.mjs'] })])
    expect(code, stderr).toBe(0)
  })
  it('two of one name, and one whose config lacks what it asks for', async () => {
    const taken = setUp('llama')
    expect(
      (await graft(['train', writeRun(taken, { model: 'model', plugins: ['./mine.mjs'] })])).stderr,
    ).toMatch(
      /Two architectures are named llama: one from @graft-peft\/architectures, one from \.\/mine\.mjs/,
    )
    const at = setUp('mine', "c.config.count('number_of_wheels');")
    expect(
      (await graft(['train', writeRun(at, { model: 'model', plugins: ['./mine.mjs'] })])).stderr,
    ).toMatch(/config\.json: key number_of_wheels/)
  })
})
