import { Command, Option } from 'commander'
import {
  type Estimate,
  estimateModel,
  estimateRun,
  loadConfig,
  type MemoryMode,
  memoryModes,
  measureSpeed,
  type Precision,
  precisions,
  type MethodEstimate,
  type Quantisation,
  quantisations,
  resolveModel,
} from '@graft-peft/core/app'
import { knownOptions } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, printTable, thousands } from '../output.js'
import { count, read, share } from '../numbers.js'
import { methodFlags, optionPairs } from '../pairs.js'
import { pulling } from '../progress.js'

interface Flags {
  plugins?: string
  method: string
  rank: number
  targets?: string
  option: Record<string, unknown>[]
  batch: number
  seq: number
  supervised: number
  quantize?: Quantisation
  precision?: Precision
  configOnly?: boolean
  json?: boolean
}
/** What every method is measured against. */
const yardstick = 'full'

export const estimateCommand: CommandMaker = () =>
  new Command('estimate')
    .description(
      'say what tuning would take, before anything runs: parameters, adapter size, memory, work and time, beside full fine-tuning',
    )
    .argument('<what>', 'a training config, or a language model')
    .argument('[overrides...]', 'key=value pairs that replace keys of the config')
    .option('--method <names>', 'methods for a model, comma-separated', 'lora')
    .option('--rank <n>', 'rank', read(count), 8)
    .option('--targets <names>', "modules, comma-separated, or all-linear (default: the method's choice)")
    .option(
      '--option <key=value>',
      'a further option of the method; may be given several times',
      optionPairs,
      [],
    )
    .option('--batch <n>', 'examples per step', read(count), 1)
    .option('--seq <n>', 'tokens per example', read(count), 512)
    .option('--supervised <share>', 'share of each sequence that is supervised', read(share), 1)
    .addOption(new Option('--quantize <bits>', 'keep the base in fewer bits').choices(quantisations))
    .addOption(new Option('--precision <type>', 'what products are computed in').choices(precisions))
    .option('--config-only', "plan from the model's config.json alone: the weights need not be here")
    .option('--json', 'print everything as one JSON object')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft estimate config.yaml',
        'graft estimate config.yaml memory=low training.batch_size=4',
        'graft estimate ./opt-175b --config-only --rank 4 --targets q_proj,v_proj --batch 1 --seq 2048',
      ),
    )
    .action(async (what: string, overrides: string[], flags: Flags) => {
      const found = /\.ya?ml$/.test(what)
        ? await ofConfig(what, overrides, flags)
        : await ofModel(what, flags)
      const speed = await measureSpeed()
      if (flags.json) return printJson({ ...found, flops_per_second: speed })
      show(found, speed)
    })

async function ofConfig(path: string, overrides: readonly string[], { plugins }: Flags): Promise<Estimate> {
  const registry = await registryWith(plugins)
  return estimateRun(await loadConfig(path, registry, overrides, pulling()), registry, [yardstick])
}

async function ofModel(given: string, flags: Flags): Promise<Estimate> {
  const path = flags.configOnly
    ? given.replace(/\/?config\.json$/, '') || '.'
    : await resolveModel(given, pulling())
  const registry = await registryWith(flags.plugins)
  const names = [...new Set([...flags.method.split(','), yardstick])]
  const methods = names.map((name) => ({
    name,
    options: knownOptions(registry.get('method', name), methodFlags(flags)),
  }))
  return estimateModel(path, registry, {
    methods,
    batch: flags.batch,
    sequence: flags.seq,
    supervised: flags.supervised,
    quantize: flags.quantize,
    precision: flags.precision,
    weightless: flags.configOnly,
  })
}

/** Matrix products are not all of a step: measured, the rest takes an eighth. */
const products = 0.88

function show({ model, parameters, weights, sizes, methods }: Estimate, speed: number): void {
  printLine(`${model}: ${thousands(parameters)} parameters, ${bytes(weights)} as stored`)
  printLine(
    `A batch: ${Object.entries(sizes)
      .map(([name, n]) => `${name} ${thousands(n)}`)
      .join(', ')}\n`,
  )
  const least = Math.min(...methods.map((m) => m.trainable))
  const column = (label: string, of: (m: MethodEstimate) => string): string[] => [label, ...methods.map(of)]
  const inMode = (mode: MemoryMode): string[][] => [
    column(`memory: ${mode}`, (m) => bytes(m.memory[mode].peak)),
    column('  work per step', (m) => `${(m.memory[mode].flops / 1e12).toPrecision(3)} TFLOP`),
    column('  time per step here', (m) => seconds(m.memory[mode].flops / speed / products)),
  ]
  printTable(
    ['', ...methods.map((m) => m.method)],
    [
      column('trained parameters', (m) => thousands(m.trainable)),
      column('  of the model', (m) => `${((100 * m.trainable) / parameters).toPrecision(3)} %`),
      column(
        '  fewer than full',
        (m) => `${thousands(Math.round(methods[methods.length - 1].trainable / m.trainable))} ×`,
      ),
      column('adapter', (m) =>
        m.trainable === least || m.adapter < weights ? bytes(m.adapter) : `${bytes(m.adapter)} (the model)`,
      ),
      column('  at 16 bits', (m) => bytes(m.adapter / 2)),
      ...memoryModes.flatMap(inMode),
      column('  of it weights', (m) => bytes(m.memory.balanced.weights)),
      column('  of it activations', (m) => bytes(m.memory.balanced.activations)),
      column('  of it trained state', (m) => bytes(m.memory.balanced.state)),
      column('weights and state, all at 16 bits', (m) => bytes(m.atHalfPrecision)),
    ],
    ['left', ...methods.map(() => 'right' as const)],
  )
  printLine(
    `\nTimes are for matrix products at this machine's ${Math.round(speed / 1e9)} GFLOP/s. "of it" is for memory: balanced.`,
  )
}

const units = ['B', 'KB', 'MB', 'GB', 'TB']
function bytes(n: number): string {
  const k = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3))
  return `${(n / 1000 ** k).toPrecision(3)} ${units[k]}`
}
const seconds = (s: number): string =>
  s < 120 ? `${s.toPrecision(2)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`
