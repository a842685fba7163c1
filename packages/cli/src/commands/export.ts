import { statSync } from 'node:fs'
import { Command } from 'commander'
import { GraftError } from '@graft-peft/core'
import { exportAdapter, exportTraining, loadConfig, openAdapter } from '@graft-peft/core/app'
import { defaultRegistry, pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, thousands } from '../output.js'
import { pulling } from '../progress.js'

interface Flags {
  training?: string
  model?: string
  plugins?: string
  json?: boolean
}

export const exportCommand: CommandMaker = () =>
  new Command('export')
    .description(
      "write an adapter in ONNX Runtime's own format with a model that takes it, or a config's compiled training step, for any ONNX Runtime to run",
    )
    .argument('<source>', 'adapter folder; with --training, a YAML config')
    .argument('[output]', 'folder for model.onnx and adapter.onnx_adapter')
    .option('--training <folder>', 'write the compiled training step and its initial state there')
    .option('--model <path>', "the base model, where the adapter doesn't know it")
    .option('--json', 'print the result as JSON')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft export out/adapter out/onnx',
        'graft export config.yaml --training out/step && python out/step/run.py',
      ),
    )
    .action(async (source: string, output: string | undefined, flags: Flags) => {
      if ((output === undefined) === (flags.training === undefined))
        throw new GraftError(
          'NO_OUTPUT',
          'Give either a folder to export an adapter to, or --training and a folder.',
        )
      if (flags.training !== undefined) {
        if (!statSync(source, { throwIfNoEntry: false })?.isFile())
          throw new GraftError(
            'CONFIG_NOT_FOUND',
            `${source}: --training takes a YAML config, as graft train does.`,
          )
        const registry = defaultRegistry()
        const report = await exportTraining(
          await loadConfig(source, registry, [], pulling()),
          registry,
          flags.training,
        )
        if (flags.json) return printJson(report)
        return printLine(
          `Written  ${report.folder}: a step that trains ${thousands(report.parameters)} parameters, with feeds for ${report.steps} steps; run.py and browser.html run it`,
        )
      }
      const report = exportAdapter(
        await openAdapter(source, await registryWith(flags.plugins), flags.model),
        output as string,
      )
      if (flags.json) return printJson(report)
      printLine(`Model    ${report.model}`)
      printLine(`Adapter  ${report.adapter} (${thousands(report.parameters)} parameters)`)
    })
