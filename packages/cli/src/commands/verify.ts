import { Command, Option } from 'commander'
import {
  type CaseReport,
  chosenDevice,
  type Device,
  type Precision,
  precisions,
  verify,
} from '@graft-peft/core/app'
import { tolerancesOn } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { printJson, printLine, printTable, scientific } from '../output.js'

interface Flags {
  plugins?: string
  case?: string
  device: Device
  precision: Precision
  json?: boolean
}

export const verifyCommand: CommandMaker = (exit) =>
  new Command('verify')
    .description('replay reference results of HF PEFT: forward, gradients, ten steps, adapter')
    .argument('<folder>', 'reference results of one model')
    .option('--case <name>', 'one method only')
    .addOption(deviceOption())
    .addOption(
      new Option(
        '--precision <type>',
        'what products are computed in; other than float32, the forward pass and the direction of the gradients are compared',
      )
        .choices(precisions)
        .default('float32'),
    )
    .option('--json', 'print one JSON object per case')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft verify golden/llama',
        'graft verify golden/llama --case lora --json',
        'graft verify golden/llama --device webgpu',
        'graft verify golden/llama --precision int8',
      ),
    )
    .action(async (folder: string, flags: Flags) => {
      const device = await chosenDevice(flags.device)
      const replaying = { device, precision: flags.precision }
      const reports: CaseReport[] = []
      const options = { only: flags.case, ...replaying }
      for await (const report of verify(folder, await registryWith(flags.plugins), options)) {
        reports.push(report)
        if (flags.json) printJson(report)
      }
      if (!flags.json) show(reports, tolerancesOn(replaying))
      if (reports.some((r) => r.status === 'failed')) exit(1)
    })

function show(reports: readonly CaseReport[], tolerances: ReturnType<typeof tolerancesOn>): void {
  const allowed = Object.entries(tolerances)
  const difference = (r: CaseReport, name: string) => {
    const found = r.checks.find((c) => c.name === name)
    return found ? `${scientific(found.difference)}${found.passed ? '' : ' !'}` : ''
  }
  printTable(
    ['export', 'case', 'status', ...allowed.map(([name]) => name)],
    reports.map((r) => [r.export, r.case, r.status, ...allowed.map(([name]) => difference(r, name))]),
    ['left', 'left', 'left', ...allowed.map(() => 'right' as const)],
  )
  for (const r of reports)
    if (r.reason && r.status === 'failed') printLine(`\n${r.export} ${r.case}: ${r.reason}`)
  const count = (status: CaseReport['status']) => reports.filter((r) => r.status === status).length
  const limits = allowed.map(([name, most]) => `${name} ${scientific(most)}`).join(', ')
  printLine(
    `\n${count('passed')} passed, ${count('failed')} failed, ${count('not built')} not built. Greatest difference allowed: ${limits}.`,
  )
}
