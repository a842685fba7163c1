import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Coder } from '@graft-peft/core'
import { type Conversation, parseJson } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { example, temporaryFolder } from '../fixture.js'

interface Golden {
  conversations: Record<string, Conversation & { prompt?: boolean }>
  templates: Record<
    string,
    { template: string; expected: Record<string, { text?: string; ids?: number[]; mask?: number[] }> }
  >
}
const golden = parseJson(readFileSync(new URL('templates.json', import.meta.url), 'utf8')) as Golden

/** A coder for a folder that has a tokenizer and this template; encoding needs no more of a model. */
function coderFor(name: string, template: string, folder: string): Coder {
  const own = join(folder, name)
  mkdirSync(own)
  copyFileSync(join(example, 'model/tokenizer.json'), join(own, 'tokenizer.json'))
  writeFileSync(join(own, 'tokenizer_config.json'), JSON.stringify({ bos_token: '<s>', eos_token: '</s>' }))
  writeFileSync(join(own, 'chat_template.jinja'), template)
  const model = { folder: own, config: {}, graph: { inputs: [] } } as unknown as Coder['model']
  return new Coder(model, [], { columns: {}, max_length: 4096, train_on_prompt: false })
}

describe("tokens and what is learnt of them are transformers' (return_assistant_tokens_mask)", () => {
  const folder = temporaryFolder()
  const marked = Object.entries(golden.templates).filter(([, t]) =>
    Object.values(t.expected).some((e) => e.mask?.includes(1)),
  )
  // Whose text tells the day it was made.
  for (const [name, { template, expected }] of marked.filter(([n]) => !n.startsWith('smollm3')))
    it(name, () => {
      const coder = coderFor(name, template, folder)
      for (const [key, { text, ids, mask }] of Object.entries(expected)) {
        const { messages, tools, prompt } = golden.conversations[key]
        // A call that the template doesn't write is refused here (turns.test.ts).
        if (!ids || !mask || prompt || (tools && !text?.includes('forecast'))) continue
        const found = coder.language({ fields: tools ? { messages, tools } : { messages }, where: key })
        // What ends in no end token gets one here.
        expect(found.ids.slice(0, ids.length), key).toEqual(ids)
        expect(
          found.tokenLabels?.slice(0, ids.length).map((l) => Number(l !== -100)),
          key,
        ).toEqual(mask)
      }
    })
  it('covers a dozen renderings', () => {
    expect(marked.flatMap(([, t]) => Object.values(t.expected)).length).toBeGreaterThan(12)
  })
})
