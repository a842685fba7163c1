import { Command, Option } from 'commander'
import { type MergeFormat, merge, openAdapter } from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { note, printJson, printLine, scientific } from '../output.js'

export const mergeCommand: CommandMaker = () =>
  new Command('merge')
    .description('fold an adapter into its base: writes a plain model, as a Hugging Face folder or as ONNX')
    .argument('<adapter>', 'adapter folder')
    .argument('<output>', 'folder for the merged model')
    .option('--model <path>', "the base model, where the adapter doesn't know it")
    .addOption(
      new Option('--format <format>', "of the merged model (default: the base's own)").choices([
        'safetensors',
        'onnx',
      ]),
    )
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft merge out/adapter out/merged',
        'graft merge out/adapter out/onnx --format onnx',
        'graft merge hf-adapter merged --model model',
      ),
    )
    .action(
      async (
        folder: string,
        output: string,
        flags: { model?: string; format?: MergeFormat; plugins?: string; json?: boolean },
      ) => {
        const registry = await registryWith(flags.plugins)
        const opened = await openAdapter(folder, registry, flags.model, { fullPrecision: true })
        for (const text of opened.model.notices) note(text)
        const report = await merge(opened, output, registry, flags.format)
        if (flags.json) return printJson(report)
        printLine(`Merged   ${report.weights} weights into ${report.file}`)
        printLine(`Checked  logits differ from base with adapter by at most ${scientific(report.difference)}`)
      },
    )
