import { Command } from 'commander'
import { type CaseReport, type ChosenDevice, chosenDevice, type Device, verify } from '@graft-peft/core/app'
import { tolerancesOn } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { printJson, printLine, printTable, scientific } from '../output.js'

const checkNames = Object.keys(tolerancesOn()) as CaseReport['checks'][number]['name'][]

export const verifyCommand: CommandMaker = (exit) =>
  new Command('verify')
    .description('replay reference results of HF PEFT: forward, gradients, ten steps, adapter')
    .argument('<folder>', 'reference results of one model')
    .option('--case <name>', 'one method only')
    .addOption(deviceOption())
    .option('--json', 'print one JSON object per case')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft verify golden/llama',
        'graft verify golden/llama --case lora --json',
        'graft verify golden/llama --device webgpu',
      ),
    )
    .action(
      async (folder: string, flags: { plugins?: string; case?: string; device: Device; json?: boolean }) => {
        const device = await chosenDevice(flags.device)
        const reports: CaseReport[] = []
        for await (const report of verify(folder, await registryWith(flags.plugins), {
          only: flags.case,
          device,
        })) {
          reports.push(report)
          if (flags.json) printJson(report)
        }
        if (!flags.json) show(reports, device)
        if (reports.some((r) => r.status === 'failed')) exit(1)
      },
    )

function show(reports: readonly CaseReport[], device: ChosenDevice): void {
  const difference = (r: CaseReport, name: string) => {
    const found = r.checks.find((c) => c.name === name)
    return found ? `${scientific(found.difference)}${found.passed ? '' : ' !'}` : ''
  }
  printTable(
    ['export', 'case', 'status', ...checkNames],
    reports.map((r) => [r.export, r.case, r.status, ...checkNames.map((name) => difference(r, name))]),
    ['left', 'left', 'left', 'right', 'right', 'right', 'right'],
  )
  for (const r of reports)
    if (r.reason && r.status === 'failed') printLine(`\n${r.export} ${r.case}: ${r.reason}`)
  const count = (status: CaseReport['status']) => reports.filter((r) => r.status === status).length
  printLine(
    `\n${count('passed')} passed, ${count('failed')} failed, ${count('not built')} not built. Greatest difference allowed: ${checkNames.map((n) => `${n} ${scientific(tolerancesOn(device)[n])}`).join(', ')}.`,
  )
}
