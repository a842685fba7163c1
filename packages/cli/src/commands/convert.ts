import { Command } from 'commander'
import { convert } from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson } from '../output.js'
import { count, read } from '../numbers.js'
import { showLowRank } from './combine.js'

export const convertCommand: CommandMaker = () =>
  new Command('convert')
    .description(
      'turn an adapter of any method that merges into one of another method, by its best approximation',
    )
    .argument('<adapter>', 'adapter folder')
    .argument('<output>', 'folder for the new adapter')
    .requiredOption('--to <method>', 'the method of the new adapter, such as lora')
    .option(
      '--rank <n>',
      'rank of the new adapter (default: exact where the adapter says low-rank updates, else 16)',
      read(count),
    )
    .option('--model <path>', "the base model, where the adapter doesn't know it")
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft convert out/adalora out/lora --to lora --rank 8',
        'graft convert out/lora out/smaller --to lora --rank 4',
      ),
    )
    .action(
      async (
        folder: string,
        output: string,
        {
          plugins,
          json,
          ...options
        }: { to: string; rank?: number; model?: string; plugins?: string; json?: boolean },
      ) => {
        const report = await convert(folder, output, await registryWith(plugins), options)
        if (json) return printJson(report)
        showLowRank(report)
      },
    )
