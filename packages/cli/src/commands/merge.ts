import { Command } from 'commander'
import { merge, openAdapter } from '@graft/core'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, scientific } from '../output.js'

export const mergeCommand: CommandMaker = () =>
  new Command('merge')
    .description('fold an adapter into its base: writes a plain ONNX model')
    .argument('<adapter>', 'adapter folder')
    .argument('<output>', 'folder for the merged model')
    .option('--model <path>', "the base model's ONNX file, where the adapter doesn't know it")
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText('after', examples('graft merge out/adapter out/merged', 'graft merge hf-adapter merged --model model/onnx/model.onnx'))
    .action(async (folder: string, output: string, flags: { model?: string; plugins?: string; json?: boolean }) => {
      const report = await merge(openAdapter(folder, await registryWith(flags.plugins), flags.model), output)
      if (flags.json) return printJson(report)
      printLine(`Merged   ${report.weights} weights into ${report.file}`)
      printLine(`Checked  logits differ from base with adapter by at most ${scientific(report.difference)}`)
    })
