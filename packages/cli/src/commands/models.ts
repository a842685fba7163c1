import { Command, Option } from 'commander'
import type { Architecture, Task } from '@graft-peft/core'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, printTable } from '../output.js'

interface Flags {
  plugins?: string
  json?: boolean
  markdown?: boolean
}

/** What a head is for, in the order in which they are listed. */
const uses: Readonly<Partial<Record<Task, string>>> = {
  'causal-lm': 'language',
  'sequence-to-sequence': 'sequence to sequence',
  'sequence-classification': 'texts',
  'token-classification': 'tokens',
  'image-classification': 'images',
  features: 'features',
}

export const modelsCommand: CommandMaker = () =>
  new Command('models')
    .description(
      'list the model types that open from a Hugging Face folder, what for, and one of each on the Hub',
    )
    .argument('[words...]', 'only types whose name or example contains one of these')
    .addOption(pluginOption())
    .option('--json', 'print JSON')
    .addOption(new Option('--markdown', 'print the table of docs/models.md').hideHelp())
    .addHelpText(
      'after',
      examples('graft models', 'graft models qwen gemma', 'graft models --json | jq .[].type'),
    )
    .action(list)

async function list(words: readonly string[], { plugins, json, markdown }: Flags): Promise<void> {
  const registry = await registryWith(plugins)
  const all = registry.all('architecture').flatMap(entries)
  const wanted = (e: Entry) =>
    words.some((w) => `${e.type} ${e.example}`.toLowerCase().includes(w.toLowerCase()))
  const found = words.length > 0 ? all.filter(wanted) : all
  if (json) return printJson(found)
  if (markdown) return found.map(row).forEach(printLine)
  printTable(
    ['model_type', 'for', 'for example'],
    found.map((e) => [e.type, e.for.join(', '), e.example ?? '']),
  )
  printLine(
    '\nIts kin of the same model_type open too. Any other: export it to ONNX, or write its architecture (docs/write-an-architecture.md).',
  )
}

type Entry = ReturnType<typeof entries>[number]
const entries = ({ name, modelTypes, tasks, examples: known }: Architecture) =>
  modelTypes.map((type) => ({
    type,
    architecture: name,
    for: (Object.keys(uses) as Task[]).filter((t) => tasks.includes(t)).map((t) => uses[t]),
    example: known?.[type] ?? null,
  }))
const row = (e: Entry): string =>
  `| \`${e.type}\` | ${e.for.join(', ')} | ${e.example ? `\`${e.example}\`` : ''} |`
