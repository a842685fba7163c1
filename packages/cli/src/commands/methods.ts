import { Command } from 'commander'
import type { PeftMethod } from '@graft-peft/core'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, printTable } from '../output.js'

export const methodsCommand: CommandMaker = () =>
  new Command('methods')
    .description('list what is installed: methods and objectives, built in or from plugins')
    .addOption(pluginOption())
    .option('--json', 'print a JSON array')
    .addHelpText(
      'after',
      examples(
        'graft methods',
        'graft methods --plugins graft-method-mine',
        'graft methods --json | jq .[].name',
      ),
    )
    .action(async (flags: { plugins?: string; json?: boolean }) => {
      const entries = (await registryWith(flags.plugins))
        .list()
        .map(({ kind, plugin, package: origin, version }) => {
          const { mergeable, summary, paper } = plugin as Partial<PeftMethod>
          return {
            name: plugin.name,
            kind,
            package: origin,
            version,
            merges: mergeable ?? null,
            paper: paper ?? null,
            summary: summary ?? null,
          }
        })
      if (flags.json) return printJson(entries)
      const rows = entries.map((e) => [
        e.name,
        e.kind,
        e.version ? `${e.package} ${e.version}` : e.package,
        e.merges === null ? '' : e.merges ? 'yes' : 'no',
        e.summary ?? '',
        e.paper?.replace('https://', '') ?? '',
      ])
      printTable(['name', 'kind', 'package', 'merges', 'what it does', 'paper'], rows)
      printLine(
        '\nA method of a package that is not listed: plugins: [name-of-the-package] in the config, or --plugins here.',
      )
    })
