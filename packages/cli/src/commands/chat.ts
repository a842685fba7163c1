import { createInterface } from 'node:readline/promises'
import { Command } from 'commander'
import type { Generator, Message } from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { note, printLine } from '../output.js'
import { openGenerator, samplingOf, type WritingFlags, writingOptions } from '../writing.js'
import { printed, speed } from './generate.js'

interface Flags extends WritingFlags {
  system?: string
}

export const chatCommand: CommandMaker = () =>
  writingOptions(new Command('chat'))
    .description('talk with a language model and its adapters')
    .argument('<model>', 'Hugging Face folder, ONNX file, or an adapter, which knows its base')
    .option('--system <text>', 'what the conversation begins with')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      `${examples('graft chat model --adapter out/adapter', 'graft chat model --adapter a=out/a --adapter b=out/b --temperature 0.7')}\nWithin a chat: /adapter NAME, /adapter none, /reset, /exit; Ctrl-C stops an answer, Ctrl-D ends.\n`,
    )
    .action(async (path: string, flags: Flags) => {
      const generator = await openGenerator(path, flags, await registryWith(flags.plugins))
      try {
        await new Chat(generator, flags).run()
      } finally {
        await generator.close()
      }
    })

class Chat {
  private messages: Message[] = []
  private adapter: string | null
  private answering?: AbortController

  constructor(
    private readonly generator: Generator,
    private readonly flags: Flags,
  ) {
    this.adapter = generator.names[0] ?? null
    this.reset()
  }

  async run(): Promise<void> {
    const lines = createInterface({
      input: process.stdin,
      output: process.stdin.isTTY ? process.stderr : undefined,
      prompt: '> ',
    })
    lines.on('SIGINT', () => (this.answering ? this.answering.abort() : lines.close()))
    if (this.generator.names.length > 0)
      note(`Adapters: ${this.generator.names.join(', ')}; writing with ${this.adapter}.`)
    lines.prompt()
    for await (const line of lines) {
      if (line.trim() === '/exit') break
      if (line.startsWith('/')) this.command(line.trim())
      else if (line.trim() !== '') await this.answer(line)
      lines.prompt()
    }
    lines.close()
  }

  private reset(): void {
    this.messages = this.flags.system ? [{ role: 'system', content: this.flags.system }] : []
  }
  private command(line: string): void {
    const [name, argument] = line.split(/\s+/)
    if (name === '/reset') this.reset()
    else if (name === '/adapter' && argument === 'none') this.adapter = null
    else if (name === '/adapter' && this.generator.names.includes(argument)) this.adapter = argument
    else
      note(
        name === '/adapter'
          ? `Adapters: none, ${this.generator.names.join(', ')}.`
          : 'Commands: /adapter NAME, /reset, /exit.',
      )
  }
  private async answer(content: string): Promise<void> {
    this.messages.push({ role: 'user', content })
    this.answering = new AbortController()
    const options = { ...samplingOf(this.flags), adapter: this.adapter, signal: this.answering.signal }
    const written = await printed(this.generator.stream(this.messages, options))
    this.answering = undefined
    printLine()
    note(speed(written))
    this.messages.push({ role: 'assistant', content: written.text })
  }
}
