import { availableParallelism, totalmem } from 'node:os'
import { Command } from 'commander'
import { measuredTypes, measureSpeed, probeDevices, runtimeVersion, saturates } from '@graft-peft/core/app'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printTable } from '../output.js'
import { version } from '../manifest.js'

export const doctorCommand: CommandMaker = (exit) =>
  new Command('doctor')
    .description(
      'say what this machine offers: devices, threads, memory, how fast products are in which type, versions',
    )
    .option('--json', 'print everything as one JSON object')
    .addHelpText('after', examples('graft doctor', 'graft doctor --json'))
    .action(async (flags: { json?: boolean }) => {
      const devices = await probeDevices()
      const products = devices.cpu === 'works' ? await measuredProducts() : {}
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
        products,
        devices,
      }
      if (flags.json) printJson(report)
      else show(report)
      if (devices.cpu !== 'works') exit(1)
    })

/** GFLOP/s of products on the processor, by the type they are computed in. */
async function measuredProducts(): Promise<Record<string, string>> {
  const rates: Record<string, number> = {}
  for (const type of measuredTypes) rates[type] = (await measureSpeed({}, type)) / 1e9
  const beside = (type: string) => `${(rates[type] / rates.float32).toFixed(1)} × float32`
  const notes: Record<string, string> = {
    float32: '',
    bfloat16: ` (${beside('bfloat16')}; ONNX Runtime's processors compute it in float32 between casts)`,
    int8: ` (${beside('int8')}${(await saturates()) ? '; without VNNI, activations get 7 bits' : ''})`,
  }
  return Object.fromEntries(
    Object.entries(rates).map(([type, rate]) => [type, `${rate.toFixed(0)} GFLOP/s${notes[type]}`]),
  )
}

function show({
  devices,
  methods,
  products,
  ...facts
}: Record<string, unknown> & {
  devices: Record<string, string>
  methods: string[]
  products: Record<string, string>
}): void {
  const rows = Object.entries(facts).map(([k, v]) => [k.replace('_', ' '), String(v)])
  printTable(
    ['', ''],
    [
      ...rows,
      ['methods', methods.join(', ')],
      ...Object.entries(products).map(([type, rate]) => [`products in ${type}`, rate]),
      ...Object.entries(devices).map(([name, state]) => [`device ${name}`, state]),
    ],
  )
}
