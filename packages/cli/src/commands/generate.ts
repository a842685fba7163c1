import { Command } from 'commander'
import { type DataRecord, GraftError } from '@graft-peft/core'
import {
  type Generated,
  type GenerationOptions,
  type Generator,
  type Message,
  type Prompt,
  readRecords,
} from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { count, notNegative, type NumberKind, share, whole } from '../numbers.js'
import { interruptible, until } from '../interrupt.js'
import { note, print, printJson, settleOutput } from '../output.js'
import { openGenerator, samplingOf, type WritingFlags, writingOptions } from '../writing.js'

interface Flags extends WritingFlags {
  prompt?: string
  chat?: boolean
  json?: boolean
}

export const generateCommand: CommandMaker = (exit) =>
  writingOptions(new Command('generate'))
    .description(
      'continue a text with a language model and its adapters; or answer requests, JSON Lines in, JSON Lines out',
    )
    .argument('<model>', 'Hugging Face folder, ONNX file, or an adapter, which knows its base')
    .argument(
      '[requests]',
      'JSON Lines file of {"prompt" or "messages", "adapter", "max_tokens", …}, or - for standard input',
    )
    .option('--prompt <text>', 'the text to continue')
    .option('--chat', "take the prompt as a user's message, in the model's chat template")
    .option('--json', 'print the result as one JSON line')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft generate out/adapter --prompt "Once upon a time"',
        'graft generate model --adapter out/adapter --chat --prompt "What is a graft?" --temperature 0.7 --top-p 0.9',
        `echo '{"prompt": "Dear", "adapter": "formal"}' | graft generate model --adapter formal=out/a --adapter casual=out/b -`,
      ),
    )
    .action(async (path: string, requests: string | undefined, flags: Flags) => {
      if ((requests === undefined) === (flags.prompt === undefined))
        throw new GraftError(
          'NO_PROMPT',
          'Give either --prompt, or a file of requests (- for standard input).',
        )
      const registry = await registryWith(flags.plugins)
      const generator = await openGenerator(path, flags, registry)
      const { signal, release } = interruptible()
      try {
        const options = { ...samplingOf(flags), signal }
        if (flags.prompt !== undefined)
          await single(
            generator,
            flags.chat ? [{ role: 'user', content: flags.prompt }] : flags.prompt,
            options,
            flags,
          )
        else
          for await (const record of until(
            signal,
            readRecords(requests as string, undefined, registry.all('reader')),
          )) {
            printJson(await answer(generator, record, options))
            await settleOutput()
          }
        if (signal.aborted) exit(130)
      } finally {
        release()
        await generator.close()
      }
    })

async function single(
  generator: Generator,
  prompt: Prompt,
  options: GenerationOptions,
  { json }: Flags,
): Promise<void> {
  if (json) return printJson(await generator.generate(prompt, options))
  const written = await printed(generator.stream(prompt, options))
  print('\n')
  note(speed(written))
}
/** Prints a text as it is written. */
export async function printed(writing: AsyncGenerator<string, Generated>): Promise<Generated> {
  for (;;) {
    const { value, done } = await writing.next()
    if (done) return value
    print(value)
  }
}
export const speed = ({ tokens, prompt, seconds, ended }: Generated): string =>
  `${prompt} tokens read in ${seconds.prompt.toFixed(2)} s, ${tokens} written at ${(Math.max(0, tokens - 1) / (seconds.writing || 1)).toFixed(1)}/s, ${endings[ended]}`
const endings: Record<Generated['ended'], string> = {
  end: "ended by the model's end token",
  stop: 'ended at a stop text',
  length: 'ended at max-tokens',
  aborted: 'stopped',
}

interface FieldKind {
  what: string
  fits(value: unknown): boolean
}
const isText = (value: unknown): boolean => typeof value === 'string'
const numeric = ({ what, fits }: NumberKind): FieldKind => ({
  what,
  fits: (value) => typeof value === 'number' && fits(value),
})
/** A request's fields: what they set, and what they may be. */
const settings: Readonly<Record<string, [keyof GenerationOptions, FieldKind]>> = {
  max_tokens: ['maxTokens', numeric(count)],
  temperature: ['temperature', numeric(notNegative)],
  top_p: ['topP', numeric(share)],
  top_k: ['topK', numeric(whole)],
  seed: ['seed', numeric(whole)],
  stop: ['stop', { what: 'a text, or a list of texts', fits: (v) => [v].flat().every(isText) }],
  adapter: [
    'adapter',
    { what: "an adapter's name, or null for the bare model", fits: (v) => v === null || isText(v) },
  ],
}

/** What a request asks for beside its prompt. Throws BAD_REQUEST. */
function settingsOf({ fields, where }: DataRecord): GenerationOptions {
  const own: Record<string, unknown> = {}
  for (const [field, [option, { what, fits }]] of Object.entries(settings)) {
    const value = fields[field]
    if (value === undefined) continue
    if (!fits(value))
      throw new GraftError(
        'BAD_REQUEST',
        `${where}: ${field} should be ${what}, got ${JSON.stringify(value)}.`,
      )
    own[option] = field === 'stop' ? [value].flat() : value
  }
  return own
}

async function answer(
  generator: Generator,
  record: DataRecord,
  options: GenerationOptions,
): Promise<Record<string, unknown>> {
  const { fields, where } = record
  const prompt =
    typeof fields.prompt === 'string'
      ? fields.prompt
      : Array.isArray(fields.messages)
        ? (fields.messages as Message[])
        : undefined
  if (prompt === undefined)
    throw new GraftError(
      'NO_PROMPT',
      `${where}: a request needs prompt (a text) or messages (a conversation).`,
    )
  const { text, tokens, ended } = await generator.generate(prompt, { ...options, ...settingsOf(record) })
  return { ...fields, completion: text, tokens, ended }
}
