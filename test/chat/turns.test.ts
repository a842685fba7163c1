import { readFileSync } from 'node:fs'
import type { Message } from '@graft-peft/core/app'
import { ChatTemplate } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'

const { templates } = JSON.parse(readFileSync(new URL('templates.json', import.meta.url), 'utf8'))
const tokens = { bos_token: '<s>', eos_token: '</s>' }
const learnt = (name: string, messages: readonly Message[]) => {
  const { text, spans, ...rest } = ChatTemplate.of(templates[name]?.template ?? name, tokens).mark({
    messages,
  })
  return { learnt: spans.map(([start, end]) => text.slice(start, end)), ...rest }
}
const user = (content: string) => ({ role: 'user', content })
const assistant = (content: string, more: object = {}) => ({ role: 'assistant', content, ...more })
const talk = [user('hi'), assistant('hello'), user('when'), assistant('today')]

describe('what the assistant says in a conversation', () => {
  it('with a template that adds a turn for each message', () => {
    expect(learnt('chatml', talk)).toEqual({ learnt: ['hello<|im_end|>\n', 'today<|im_end|>\n'], left: {} })
  })
  it('with a template that closes the conversation', () => {
    const { learnt: found } = learnt('phi-3', talk)
    expect(found).toEqual(['hello<|end|>\n', 'today<|end|>\n</s>'])
  })
  it('with a template whose prompt opens a thought, which is told', () => {
    const { learnt: found, notice } = learnt('deepseek-r1', talk)
    expect(found).toEqual(['hello<｜end▁of▁sentence｜>', 'today<｜end▁of▁sentence｜>'])
    expect(notice).toMatch(/opens a thought/)
  })
  it('with an answer that begins as a longer prompt goes on', () => {
    const template =
      "{% for m in messages %}{{ '<' ~ m.role ~ '>' ~ m.content ~ '<eot>' }}{% endfor %}{% if add_generation_prompt %}<assistant>Thought: {% endif %}"
    expect(learnt(template, [user('hi'), assistant('There')]).learnt).toEqual(['There<eot>'])
  })
  it('a turn that the template rewrites when more follow is left out, and counted', () => {
    const thinking = [user('a'), assistant('<think>\nhm\n</think>\n\nyes'), user('b'), assistant('no')]
    const { learnt: found, left } = learnt('qwen-3', thinking)
    expect(found.at(-1)).toMatch(/no<\|im_end\|>\n$/)
    expect(found.join()).not.toContain('hm')
    expect(left).toEqual(
      found.length === 2 ? {} : { 'turns of the assistant that the template rewrites when more follow': 1 },
    )
  })
  it('weight 0 and train: false are not learnt, whoever marks the turns', () => {
    const weighed = [user('a'), assistant('bad', { weight: 0 }), user('b'), assistant('good', { weight: 1 })]
    const skipped = { 'turns of the assistant with weight 0': 1 }
    expect(learnt('chatml', weighed)).toEqual({ learnt: ['good<|im_end|>\n'], left: skipped })
    expect(learnt('tulu-generation', weighed)).toEqual({ learnt: ['good</s>'], left: skipped })
    const axolotl = [user('a'), assistant('bad', { train: false })]
    expect(learnt('chatml', axolotl)).toEqual({ learnt: [], left: skipped })
    expect(() => learnt('chatml', [user('a'), assistant('b', { weight: 0.5 })])).toThrow(
      /weight should be 0 or 1/,
    )
  })
  it('a conversation in which the assistant says nothing is counted', () => {
    const left = { 'conversations without a turn of the assistant': 1 }
    expect(learnt('chatml', [user('a'), user('b')])).toEqual({ learnt: [], left })
  })
  it('calls that the template does not write are refused, with the name of the tool', () => {
    const call = { type: 'function', function: { name: 'forecast', arguments: {} } }
    const calling = [user('a'), { role: 'assistant', content: '', tool_calls: [call] }]
    expect(() => learnt('chatml', calling)).toThrow(/calls the tool forecast.*writes no tool_calls/)
    expect(learnt('qwen-2.5-tools', calling).learnt.join()).toMatch(/"name": "forecast"/)
  })
})
