import { availableParallelism, totalmem } from 'node:os'
import { Command } from 'commander'
import { probeDevices, runtimeVersion } from '@graft-peft/core/app'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printTable } from '../output.js'
import { version } from '../manifest.js'

export const doctorCommand: CommandMaker = (exit) =>
  new Command('doctor')
    .description('say what this machine offers: devices, threads, memory, versions')
    .option('--json', 'print everything as one JSON object')
    .addHelpText('after', examples('graft doctor', 'graft doctor --json'))
    .action(async (flags: { json?: boolean }) => {
      const devices = await probeDevices()
      const report = {
        graft: version,
        node: process.versions.node,
        onnxruntime: runtimeVersion,
        platform: `${process.platform} ${process.arch}`,
        threads: availableParallelism(),
        memory_gb: Number((totalmem() / 2 ** 30).toFixed(1)),
        methods: defaultRegistry()
          .all('method')
          .map((m) => m.name),
        devices,
      }
      if (flags.json) printJson(report)
      else show(report)
      if (devices.cpu !== 'works') exit(1)
    })

function show({
  devices,
  methods,
  ...facts
}: Record<string, unknown> & { devices: Record<string, string>; methods: string[] }): void {
  const rows = Object.entries(facts).map(([k, v]) => [k.replace('_', ' '), String(v)])
  printTable(
    ['', ''],
    [
      ...rows,
      ['methods', methods.join(', ')],
      ...Object.entries(devices).map(([name, state]) => [`device ${name}`, state]),
    ],
  )
}
