import { Command } from 'commander'
import type { PeftMethod } from '@graft-peft/core'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { methodPage } from '../method-page.js'
import { print, printJson, printLine, printTable } from '../output.js'

interface Flags {
  plugins?: string
  json?: boolean
}

export const methodsCommand: CommandMaker = () =>
  new Command('methods')
    .description(
      'list what is installed, built in or from plugins; with a name, what there is to know of one method',
    )
    .argument('[name]', 'a method: its page, with every option')
    .addOption(pluginOption())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      examples(
        'graft methods',
        'graft methods lora',
        'graft methods --plugins graft-method-mine',
        'graft methods --json | jq .[].name',
      ),
    )
    .action(async (name: string | undefined, flags: Flags) => (name ? one(name, flags) : all(flags)))

/** Throws what the registry throws for a name that nobody has. */
async function one(name: string, { plugins, json }: Flags): Promise<void> {
  const method = (await registryWith(plugins)).get('method', name)
  const { family, summary, paper, learningRate, mergeable, peftType, configSchema } = method
  if (json) printJson({ name, family, summary, paper, learningRate, mergeable, peftType, configSchema })
  else print(methodPage(method))
}

type Entry = ReturnType<typeof entry>
const entry = ({ kind, plugin, package: origin, version }: Listed) => {
  const { mergeable, summary, paper, family } = plugin as Partial<PeftMethod>
  return {
    name: plugin.name,
    kind,
    family: family ?? null,
    package: origin,
    version,
    merges: mergeable ?? null,
    paper: paper ?? null,
    summary: summary ?? null,
  }
}
type Listed = ReturnType<Awaited<ReturnType<typeof registryWith>>['list']>[number]

async function all({ plugins, json }: Flags): Promise<void> {
  const entries = (await registryWith(plugins)).list().map(entry)
  if (json) return printJson(entries)
  const isMethod = (e: Entry) => e.kind === 'method'
  for (const [family, methods] of byFamily(entries.filter(isMethod))) {
    printLine(`\n${family}`)
    printTable(
      ['name', 'merges', 'what it does', 'paper', 'package'],
      methods.map((e) => [
        `  ${e.name}`,
        e.merges ? 'yes' : 'no',
        e.summary ?? '',
        e.paper?.replace('https://', '') ?? '',
        packageOf(e),
      ]),
    )
  }
  printLine('\nbesides methods')
  printTable(
    ['name', 'kind', 'package'],
    entries.filter((e) => !isMethod(e)).map((e) => [`  ${e.name}`, e.kind, packageOf(e)]),
  )
  printLine(
    '\ngraft methods NAME says more of one. A method of a package that is not listed: plugins: [name-of-the-package] in the config, or --plugins here.',
  )
}
const packageOf = ({ package: origin, version }: Entry): string => (version ? `${origin} ${version}` : origin)

/** Families in the order in which they first come up; methods that name none come last. */
function byFamily(methods: readonly Entry[]): Map<string, Entry[]> {
  const known = [...new Set(methods.flatMap((m) => m.family ?? []))]
  const families = [...known, ...(methods.some((m) => !m.family) ? ['others'] : [])]
  return new Map(families.map((f) => [f, methods.filter((m) => (m.family ?? 'others') === f)]))
}
