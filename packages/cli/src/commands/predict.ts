import { Command } from 'commander'
import { chosenDevice, type Device, openAdapter, predict, readRecords } from '@graft-peft/core/app'
import { AtomicFile, jsonText } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { interruptible, until } from '../interrupt.js'
import { note, printJson, settleOutput, thousands } from '../output.js'
import { Counter } from '../progress.js'

interface Flags {
  plugins?: string
  output?: string
  model?: string
  device: Device
}

export const predictCommand: CommandMaker = (exit) =>
  new Command('predict')
    .description(
      'classify records with an adapter (or predict numbers, token labels, embeddings): JSON Lines in, JSON Lines out',
    )
    .argument('<adapter>', 'adapter folder')
    .argument('<data>', 'file of records or folder of images, or - for standard input, answered line by line')
    .option('-o, --output <file>', 'write here instead of standard output')
    .option('--model <path>', "the base model's ONNX file, where the adapter doesn't know it")
    .addOption(deviceOption())
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft predict out/adapter questions.jsonl',
        `echo '{"text": "where is my card?"}' | graft predict out/adapter -`,
        'graft predict out/adapter photos --output labels.jsonl',
      ),
    )
    .action(async (folder: string, data: string, { output, model, plugins, ...flags }: Flags) => {
      const device = await chosenDevice(flags.device)
      const registry = await registryWith(plugins)
      const opened = await openAdapter(folder, registry, model)
      for (const text of opened.model.notices) note(text)
      const progress = new Counter(output === undefined, 'records')
      // Who writes line by line waits for each answer before the next question.
      const atOnce = data === '-'
      const file = output === undefined ? undefined : new AtomicFile(output)
      const { signal, release } = interruptible()
      try {
        const records = until(signal, readRecords(data, undefined, registry.all('reader')))
        for await (const { record, prediction } of predict(opened, records, { device }, { atOnce })) {
          if (signal.aborted) break
          const result = { ...record.fields, ...prediction }
          if (file) file.write(`${jsonText(result)}\n`)
          else printJson(result)
          progress.count()
          if (atOnce) await settleOutput()
        }
        if (signal.aborted) exit(130)
        else file?.finish()
      } finally {
        release()
        progress.stop()
        file?.discard()
      }
      if (output === undefined) return
      note(
        signal.aborted
          ? `Stopped; ${output} is not written`
          : `${thousands(progress.done)} predictions in ${output}`,
      )
    })
