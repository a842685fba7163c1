import { Command, Option } from 'commander'
import {
  benchmark,
  chosenDevice,
  type Device,
  type MemoryMode,
  memoryModes,
  type Precision,
  precisions,
  type Quantisation,
  quantisations,
  resolveModel,
} from '@graft-peft/core/app'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, deviceOption, examples } from '../command.js'
import { count, read, share } from '../numbers.js'
import { methodFlags, optionPairs } from '../pairs.js'
import { pulling } from '../progress.js'
import { printJson, printTable, thousands } from '../output.js'

interface Flags {
  plugins?: string
  method: string
  rank: number
  targets?: string
  option: Record<string, unknown>[]
  batch: number
  microBatch?: number
  seq: number
  steps: number
  stepsPerRun: number
  profile?: string
  supervised: number
  threads?: number
  device: Device
  precision: Precision
  memory: MemoryMode
  quantize?: Quantisation
  json?: boolean
}

export const benchCommand: CommandMaker = () =>
  new Command('bench')
    .description('time training steps of a language model on random tokens')
    .argument('<model>', 'ONNX file, or a folder that holds one')
    .option('--method <name>', 'method', 'lora')
    .option('--rank <n>', 'rank', read(count), 8)
    .option('--targets <names>', "modules, comma-separated, or all-linear (default: the method's choice)")
    .option(
      '--option <key=value>',
      'a further option of the method; may be given several times',
      optionPairs,
      [],
    )
    .option('--batch <n>', 'examples per step', read(count), 4)
    .option(
      '--micro-batch <n>',
      'examples run at a time, gradients added up (default: all of a step)',
      read(count),
    )
    .option('--seq <n>', 'tokens per example', read(count), 128)
    .option('--steps <n>', 'steps to time', read(count), 8)
    .option('--steps-per-run <n>', 'steps that are one run of the session', read(count), 1)
    .option('--profile <prefix>', 'have ONNX Runtime write what each node took, and where it ran')
    .option('--supervised <share>', 'share of each sequence that is supervised', read(share), 1)
    .addOption(
      new Option('--memory <mode>', 'what the backward pass keeps').choices(memoryModes).default('balanced'),
    )
    .addOption(new Option('--quantize <bits>', 'keep the base in fewer bits').choices(quantisations))
    .option('--threads <n>', 'threads (default: one per core)', read(count))
    .addOption(deviceOption())
    .addOption(
      new Option('--precision <type>', 'what products are computed in')
        .choices(precisions)
        .default('float32'),
    )
    .option('--json', 'print one JSON line')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft bench model/onnx/model.onnx --method lora --rank 8 --targets q_proj,v_proj --batch 4 --seq 128 --steps 8 --json',
      ),
    )
    .action(async (path: string, flags: Flags) => {
      const result = await benchmark(await resolveModel(path, pulling()), await registryWith(flags.plugins), {
        method: flags.method,
        methodOptions: methodFlags(flags),
        batch: flags.batch,
        microBatch: flags.microBatch,
        sequence: flags.seq,
        steps: flags.steps,
        stepsPerRun: flags.stepsPerRun,
        profile: flags.profile,
        supervised: flags.supervised,
        memory: flags.memory,
        quantize: flags.quantize,
        device: await chosenDevice(flags.device),
        precision: flags.precision,
        threads: flags.threads,
      })
      if (flags.json)
        return printJson({
          impl: 'graft',
          method: flags.method,
          batch: flags.batch,
          seq: flags.seq,
          ...result,
        })
      printTable(
        ['', ''],
        [
          ['step, fastest', `${result.step_s_min.toFixed(3)} s`],
          ['step, median', `${result.step_s_median.toFixed(3)} s`],
          [
            'peak memory',
            `${thousands(result.peak_mb)} MB, predicted ${thousands(result.predicted_peak_mb)} MB`,
          ],
          ['trainable parameters', thousands(result.trainable)],
          ['compiling', `${result.compile_s.toFixed(1)} s`],
          ['loss', result.loss.toFixed(4)],
        ],
        ['left', 'right'],
      )
    })
