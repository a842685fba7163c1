import { Command } from 'commander'
import { chosenDevice, type Device, openAdapter, predict, readRecords } from '@graft-peft/core/app'
import { AtomicFile, jsonText } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { note, printJson, thousands } from '../output.js'
import { Counter } from '../progress.js'

interface Flags {
  plugins?: string
  output?: string
  model?: string
  device: Device
}

export const predictCommand: CommandMaker = () =>
  new Command('predict')
    .description(
      'classify records with an adapter (or predict numbers, token labels, embeddings): JSON Lines in, JSON Lines out',
    )
    .argument('<adapter>', 'adapter folder')
    .argument('<data>', 'JSON Lines or CSV file of records, or - for standard input')
    .option('-o, --output <file>', 'write here instead of standard output')
    .option('--model <path>', "the base model's ONNX file, where the adapter doesn't know it")
    .addOption(deviceOption())
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft predict out/adapter questions.jsonl',
        `echo '{"text": "where is my card?"}' | graft predict out/adapter -`,
      ),
    )
    .action(async (folder: string, data: string, { output, model, plugins, ...flags }: Flags) => {
      const device = await chosenDevice(flags.device)
      const opened = await openAdapter(folder, await registryWith(plugins), model)
      const progress = new Counter(output === undefined, 'records')
      // Who writes line by line waits for each answer before the next question.
      const atOnce = data === '-'
      const file = output === undefined ? undefined : new AtomicFile(output)
      try {
        for await (const { record, prediction } of predict(
          opened,
          readRecords(data),
          { device },
          { atOnce },
        )) {
          const result = { ...record.fields, ...prediction }
          if (file) file.write(`${jsonText(result)}\n`)
          else printJson(result)
          progress.count()
        }
        file?.finish()
      } finally {
        progress.stop()
        file?.discard()
      }
      if (output !== undefined) note(`${thousands(progress.done)} predictions in ${output}`)
    })
