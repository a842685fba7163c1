import { readFileSync } from 'node:fs'
import { ChatTemplate, type Conversation, JinjaTemplate, parseJson } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'

interface Expected {
  text?: string
  error?: string
}
interface Golden {
  conversations: Record<string, Conversation & { prompt?: boolean }>
  templates: Record<string, { template: string; expected: Record<string, Expected> }>
}
// As a data file is read: a number keeps its point.
const golden = parseJson(readFileSync(new URL('templates.json', import.meta.url), 'utf8')) as Golden
const tokens = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' }
/** The moment that the golden values were made at. */
const now = new Date(2026, 2, 7, 9, 5, 2)

const written = (source: string, name: string): Expected => {
  const { messages, tools, prompt = false } = golden.conversations[name]
  try {
    return { text: ChatTemplate.of(source, tokens, now).render({ messages, tools }, prompt) }
  } catch {
    return { error: '' }
  }
}

describe('chat templates write what transformers writes', () => {
  for (const [name, { template, expected }] of Object.entries(golden.templates))
    it(name, () => {
      for (const [conversation, { text, error }] of Object.entries(expected)) {
        const found = written(template, conversation)
        if (error) expect(found, conversation).toEqual({ error: '' })
        else expect(found.text, conversation).toBe(text)
      }
    })
})

describe('a template that loops or swells ends in an error', () => {
  const fails = (source: string) => {
    const started = performance.now()
    expect(() => new JinjaTemplate(source).render({})).toThrow(/loops|grows|deep|too big|too great|longer/i)
    expect(performance.now() - started).toBeLessThan(10_000)
  }
  it.each([
    '{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}',
    '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
    "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{{ 'a' * 10000000000 }}",
    "{{ 'aaaaaaaa'.replace('', 'b' * 10000000) }}",
    '{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}',
    "{{ 'a'.center(100000000000) }}",
    `{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`,
    '{{ 9 ** 9999999 }}',
    '{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}',
    '{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x + [] }}{{ ns.x | tojson }}',
    "{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}",
  ])('%#', fails)
})
