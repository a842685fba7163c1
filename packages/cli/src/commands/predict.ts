import { Command } from 'commander'
import { openAdapter, predict, readRecords, writeAtomically } from '@graft/core'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { note, printJson, thousands } from '../output.js'
import { Progress } from '../progress.js'

interface Flags {
  plugins?: string
  output?: string
  model?: string
}

export const predictCommand: CommandMaker = () =>
  new Command('predict')
    .description('classify records with an adapter: JSON Lines in, JSON Lines out')
    .argument('<adapter>', 'adapter folder')
    .argument('<data>', 'JSON Lines or CSV file of records, or - for standard input')
    .option('-o, --output <file>', 'write here instead of standard output')
    .option('--model <path>', "the base model's ONNX file, where the adapter doesn't know it")
    .addOption(pluginOption())
    .addHelpText('after', examples('graft predict out/adapter questions.jsonl', `echo '{"text": "where is my card?"}' | graft predict out/adapter -`))
    .action(async (folder: string, data: string, { output, model, plugins }: Flags) => {
      const records = readRecords(data)
      const opened = openAdapter(folder, await registryWith(plugins), model)
      const progress = new Progress(output === undefined, 'record')
      progress.start(records.length)
      const lines: string[] = []
      for await (const { label, score } of predict(opened, records)) {
        const result = { ...records[lines.length].fields, prediction: label, score: Number(score.toFixed(6)) }
        lines.push(JSON.stringify(result))
        if (output === undefined) printJson(result)
        progress.update(lines.length, records.length, [])
      }
      progress.stop()
      if (output === undefined) return
      writeAtomically(output, lines.map((l) => `${l}\n`).join(''))
      note(`${thousands(lines.length)} predictions in ${output}`)
    })
