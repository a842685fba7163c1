import { GraftError } from '@graft-peft/core'
import {
  chosenDevice,
  type Device,
  type GenerationOptions,
  Generator,
  openAdapter,
  type Precision,
  type Registry,
  resolveModel,
} from '@graft-peft/core/app'
import { type Command, Option } from 'commander'
import { deviceOption } from './command.js'
import { count, notNegative, read, share, whole } from './numbers.js'
import { note } from './output.js'
import { pulling } from './progress.js'

export interface WritingFlags {
  adapter?: string[]
  maxTokens: number
  temperature: number
  topP: number
  topK: number
  seed: number
  stop?: string[]
  threads?: number
  device: Device
  precision?: Precision
  plugins?: string
}

const gather = (text: string, all: string[] = []): string[] => [...all, text]

/** Options that generate and chat share. */
export const writingOptions = (command: Command): Command =>
  command
    .option('--adapter <[name=]folder>', 'an adapter to write with; may be given several times', gather)
    .option('--max-tokens <n>', 'tokens to write at most', read(count), 256)
    .option('--temperature <t>', '0: always the most likely token', read(notNegative), 0)
    .option(
      '--top-p <p>',
      'draw from the most likely tokens that together have this probability',
      read(share),
      1,
    )
    .option('--top-k <k>', 'draw from the k most likely tokens', read(whole), 0)
    .option('--seed <n>', 'of the drawing', read(whole), 0)
    .option('--stop <text>', 'end before this text; may be given several times', gather)
    .option('--threads <n>', 'threads (default: one per core)', read(count))
    .addOption(deviceOption())
    .addOption(
      new Option(
        '--precision <type>',
        "what products are computed in (default: the adapter's own, else float32)",
      ).choices(['float32', 'int8']),
    )

export const samplingOf = ({
  maxTokens,
  temperature,
  topP,
  topK,
  seed,
  stop = [],
}: WritingFlags): GenerationOptions => ({
  maxTokens,
  temperature,
  topP,
  topK,
  seed,
  stop,
})

/** Opens a model for writing, with the adapters that the flags name loaded side by side. */
export async function openGenerator(
  path: string,
  { adapter = [], threads, device, precision }: WritingFlags,
  registry: Registry,
): Promise<Generator> {
  const local = await resolveModel(path, pulling())
  const generator = await Generator.open(local, registry, {
    threads,
    precision,
    device: await chosenDevice(device),
  })
  try {
    for (const entry of adapter) {
      const { name, folder } = named(entry)
      if (generator.names.includes(name))
        throw new GraftError(
          'DUPLICATE_ADAPTER',
          `Two adapters are named ${name}. Name them: --adapter one=${folder}`,
        )
      const opened = await openAdapter(folder, registry, generator.base, { cache: true })
      for (const text of opened.model.notices) note(text)
      await generator.load(name, opened)
    }
    return generator
  } catch (error) {
    await generator.close()
    throw error
  }
}
function named(entry: string): { name: string; folder: string } {
  const [, name, folder] = entry.match(/^([\w.-]+)=(.+)$/) ?? []
  return folder
    ? { name, folder }
    : { name: entry.replace(/\/+$/, '').split('/').at(-1) as string, folder: entry }
}
