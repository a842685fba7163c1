import { Command } from 'commander'
import { openAdapter, unmerge } from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, scientific } from '../output.js'

export const unmergeCommand: CommandMaker = () =>
  new Command('unmerge')
    .description('take an adapter off the model that it was merged into')
    .argument('<merged>', 'merged model: Hugging Face folder or ONNX file')
    .argument('<adapter>', 'adapter folder')
    .argument('<output>', 'folder for the base model')
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText('after', examples('graft unmerge out/merged out/adapter out/base'))
    .action(
      async (
        merged: string,
        folder: string,
        output: string,
        { plugins, json }: { plugins?: string; json?: boolean },
      ) => {
        const report = await unmerge(
          await openAdapter(folder, await registryWith(plugins), merged, { fullPrecision: true }),
          output,
        )
        if (json) return printJson(report)
        if (report.kept.length > 0)
          printLine(
            `Kept     ${report.kept.join(', ')}: trained in full, so what was there before is not known`,
          )
        printLine(
          `Restored ${report.weights} weights in ${report.file}, up to rounding (at most ${scientific(report.greatest)} was taken off)`,
        )
      },
    )
