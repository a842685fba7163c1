import { Command } from 'commander'
import {
  chosenDevice,
  type Device,
  evaluate,
  type EvaluationReport,
  openAdapter,
  readRecords,
} from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { confusionLines, scoreRows } from '../confusion.js'
import { count, read } from '../numbers.js'
import { note, percent, printJson, printLine, printTable, thousands } from '../output.js'
import { Progress } from '../progress.js'

interface Flags {
  plugins?: string
  model?: string
  batch?: number
  device: Device
  json?: boolean
}

export const evaluateCommand: CommandMaker = () =>
  new Command('evaluate')
    .description(
      "compare what an adapter predicts with a file's answers: its objective's metrics, each class, which are taken for which",
    )
    .argument('<adapter>', 'adapter folder')
    .argument(
      '<data>',
      'file of records with their answers, folder of images, or - for JSON Lines on standard input',
    )
    .option('--batch <n>', 'examples computed together (default: 32; 8 where texts are written)', read(count))
    .option('--model <path>', "the base model's ONNX file, where the adapter doesn't know it")
    .option('--json', 'print everything as one JSON object, with the whole confusion matrix')
    .addOption(deviceOption())
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft evaluate out/adapter test.jsonl',
        'graft evaluate out/adapter test.csv --json | jq .values',
      ),
    )
    .action(async (folder: string, data: string, { model, plugins, batch, json, ...flags }: Flags) => {
      const device = await chosenDevice(flags.device)
      const registry = await registryWith(plugins)
      const opened = await openAdapter(folder, registry, model)
      const progress = new Progress('example')
      const notice = (text: string) => note(`Note: ${text}`)
      try {
        let total = 0
        const onProgress = (done: number, all: number) => {
          if (total === 0) progress.start(all)
          total = all
          progress.update(done, all, [])
        }
        const options = { device, batchSize: batch, onProgress }
        const report = await evaluate(
          opened,
          readRecords(data, notice, registry.all('reader')),
          registry,
          options,
        )
        progress.stop()
        if (json) printJson({ adapter: folder, data, ...report, metrics: report.metrics.map((m) => m.name) })
        else show(folder, data, report)
      } finally {
        progress.stop()
      }
    })

function show(folder: string, data: string, report: EvaluationReport): void {
  const { objective, examples, rows, left, values, metrics, classes, entities } = report
  const counted = rows === examples ? '' : `, ${thousands(rows)} tokens of them compared`
  printLine(`Adapter  ${folder}: ${objective}`)
  printLine(`Data     ${data}: ${thousands(examples)} examples${counted}`)
  for (const [what, n] of Object.entries(left)) printLine(`         left out: ${thousands(n)} ${what}`)
  const told = metrics.map((m) => [m.name, m.isShare ? percent(values[m.name]) : values[m.name].toFixed(4)])
  printLine()
  printTable(['metric', 'value'], [...told, ['loss', values.loss.toFixed(4)]], ['left', 'right'])
  for (const [what, scores] of [
    ['entity', entities],
    ['class', classes],
  ] as const) {
    if (!scores) continue
    printLine()
    printTable([what, 'precision', 'recall', 'f1', 'support'], scoreRows(scores), [
      'left',
      'right',
      'right',
      'right',
      'right',
    ])
  }
  if (!classes) return
  printLine()
  for (const line of confusionLines(classes, process.stdout.columns ?? 80)) printLine(line)
}
