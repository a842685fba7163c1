import { entryOf, GraftError } from '../errors.js'
import type { ChatTemplate, Conversation, Message } from './chat-template.js'
import { parseJson } from './json.js'

/** ShareGPT's names of who speaks; function_call and observation are LLaMA-Factory's. */
const roles: Readonly<Record<string, string>> = {
  human: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  model: 'assistant',
  function_call: 'assistant',
  observation: 'tool',
  function_response: 'tool',
}

/** ShareGPT's turns ({from, value}) as messages; those that are messages already stay. Throws BAD_CONVERSATION. */
export function fromShareGpt(turns: readonly object[], where: string): Message[] {
  return turns.map((turn, i) => {
    const { from, value, ...rest } = turn as Record<string, unknown>
    if (from === undefined && value === undefined && typeof rest.role === 'string') return rest as Message
    if (typeof from !== 'string' || (typeof value !== 'string' && !Array.isArray(value)))
      throw new GraftError(
        'BAD_CONVERSATION',
        `${where}: turn ${i + 1} of conversations should have from and value, or role and content; it has ${Object.keys(turn).join(', ') || 'nothing'}.`,
      )
    const role = entryOf(roles, from) ?? from
    if (from !== 'function_call') return { ...rest, role, content: value }
    return { ...rest, role, tool_calls: callsOf(value, `${where}: turn ${i + 1}`) }
  })
}

/** {"name", "arguments"} as JSON, one call or a list. */
function callsOf(value: unknown, where: string): object[] {
  try {
    const calls = [typeof value === 'string' ? parseJson(value) : value].flat()
    if (calls.every((c) => typeof (c as { name?: unknown } | null)?.name === 'string'))
      return calls.map((call) => ({ type: 'function', function: call }))
  } catch {
    // said below
  }
  throw new GraftError(
    'BAD_CONVERSATION',
    `${where}: a function_call should be JSON of {"name": …, "arguments": …}, or a list of such.`,
  )
}

const probe = 'a text to look for'

/**
 * Contents that are lists of texts, as one text where the template doesn't know lists: it would print the list itself. Throws
 * NO_PARTS for parts that are no texts, such as images.
 */
export function textOfParts(whole: Conversation, template: ChatTemplate): Conversation {
  if (!whole.messages.some(({ content }) => Array.isArray(content))) return whole
  for (const { content } of whole.messages)
    for (const part of Array.isArray(content) ? content : [])
      if (typeof textOf(part) !== 'string')
        throw new GraftError(
          'NO_PARTS',
          `a part of a message is ${part?.type ?? typeof part}; conversations can hold texts. Leave such records out.`,
        )
  if (readsParts(template)) return whole
  const joined = (content: unknown) => (Array.isArray(content) ? content.map(textOf).join('') : content)
  return { ...whole, messages: whole.messages.map((m) => ({ ...m, content: joined(m.content) })) }
}
const textOf = (part: unknown): unknown =>
  typeof part === 'string' ? part : (part as { text?: unknown } | null)?.text

function readsParts(template: ChatTemplate): boolean {
  try {
    const text = template.render({ messages: [{ role: 'user', content: [{ type: 'text', text: probe }] }] })
    return text.includes(probe) && !text.includes('{')
  } catch {
    return false
  }
}
