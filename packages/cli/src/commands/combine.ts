import { Command, Option } from 'commander'
import { combine, type CombineMode, combineModes, type LowRankReport } from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { count, read, share, whole } from '../numbers.js'
import { printJson, printLine, scientific } from '../output.js'

interface Flags {
  mode: CombineMode
  rank?: number
  density: number
  seed: number
  model?: string
  plugins?: string
  json?: boolean
}
/** FOLDER, or FOLDER:WEIGHT */
function part(text: string): { folder: string; weight: number } {
  const [, folder, weight] = text.match(/^(.+):(-?\d*\.?\d+(?:e-?\d+)?)$/) ?? []
  return folder ? { folder, weight: Number(weight) } : { folder: text, weight: 1 }
}

export const combineCommand: CommandMaker = () =>
  new Command('combine')
    .description('add adapters of one base model up into a new adapter')
    .argument('<output>', 'folder for the new adapter')
    .argument('<adapters...>', 'adapter folders, each with its weight: FOLDER:WEIGHT (1 when left out)')
    .addOption(
      new Option('--mode <mode>', 'sum is exact; ties and dare settle conflicts first')
        .choices([...combineModes])
        .default('sum'),
    )
    .option('--rank <n>', 'rank of the result (default: the sum of ranks)', read(count))
    .option('--density <share>', "share of an update's entries that ties and dare keep", read(share), 0.5)
    .option('--seed <n>', "of dare's drawing", read(whole), 0)
    .option('--model <path>', "the base model, where the adapters don't know it")
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft combine out/both out/french:0.7 out/formal:0.3',
        'graft combine out/both out/a out/b --mode ties --density 0.3 --rank 16',
      ),
    )
    .action(async (output: string, adapters: string[], { plugins, json, ...options }: Flags) => {
      const report = await combine(adapters.map(part), output, await registryWith(plugins), options)
      if (json) return printJson(report)
      showLowRank(report)
    })

export function showLowRank({ folder, layers, rank, error, averaged }: LowRankReport): void {
  printLine(`Written  ${folder}: ${layers} layers of rank ${rank} at most`)
  printLine(
    error === 0
      ? 'Exact    no update was rounded off'
      : `Error    at most ${scientific(error)} of an update's norm lies beyond that rank`,
  )
  if (averaged.length > 0)
    printLine(`Averaged ${averaged.join(', ')}: trained in full, so the mean by weight`)
}
