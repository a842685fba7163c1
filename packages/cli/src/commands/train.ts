import { Command } from 'commander'
import {
  type Evaluation,
  loadConfig,
  train,
  type TrainConfig,
  type TrainHooks,
  type TrainResult,
} from '@graft-peft/core/app'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples, shellWords } from '../command.js'
import { interruptible } from '../interrupt.js'
import { note, percent, printJson, printLine, printProse, thousands } from '../output.js'
import { Progress, pulling } from '../progress.js'

type Start = Parameters<NonNullable<TrainHooks['onStart']>>[0]
type Forecast = Start['forecast']
interface Flags {
  resume?: boolean
  overwrite?: boolean
  json?: boolean
}

export const trainCommand: CommandMaker = (exit) =>
  new Command('train')
    .description('train an adapter as a YAML config says')
    .argument('<config>', 'YAML file: model, method, data, training')
    .argument('[overrides...]', 'key=value pairs that replace keys of the config')
    .option('--resume', "continue from the output folder's last checkpoint")
    .option('--overwrite', 'replace a run that the output folder holds')
    .option('--json', 'print events as JSON Lines')
    .addHelpText(
      'after',
      examples(
        'graft train config.yaml',
        'graft train config.yaml training.epochs=5 method.r=16 output=out/r16',
        'graft train config.yaml --resume',
      ),
    )
    .action(async (path: string, overrides: string[], flags: Flags) => {
      const registry = defaultRegistry()
      const config = await loadConfig(path, registry, overrides, pulling())
      const report = flags.json ? new JsonReport(config) : new Report(config)
      const { signal, release } = interruptible(
        'Stopping after this step; press Ctrl-C again to stop at once.',
      )
      try {
        const result = await train(config, registry, { ...report.hooks, signal }, flags)
        report.end(result, shellWords(path, ...overrides))
        if (!result.finished) exit(130)
        else if (result.diverged) exit(1)
      } finally {
        report.close()
        release()
      }
    })

/** A run as JSON Lines on the output. */
class JsonReport {
  private foretold?: number
  constructor(private readonly config: TrainConfig) {}

  readonly hooks: TrainHooks = {
    onStart: ({ inputs: { objective, reason, notices, reports, heldOut, labels, totalSteps }, ...info }) => {
      this.foretold = info.forecast.peak
      const learnt = { objective: objective.name, reason, labels, notices, reports, heldOut }
      printJson({ event: 'start', ...info, ...learnt, chosen: this.config.chosen, steps: totalSteps })
    },
    onStep: (info) => printJson({ event: 'step', ...info }),
    onEvaluation: ({ values, ...info }) => printJson({ event: 'evaluation', ...info, ...values }),
    onNotice: (text) => printJson({ event: 'notice', text }),
  }
  end(result: TrainResult): void {
    printJson({ event: 'end', ...result, memory: { foretold: this.foretold, measured: largest() } })
  }
  close(): void {}
}

/** A run for people. */
class Report {
  private readonly progress = new Progress()
  private ranks?: Record<string, number>
  private foretold?: Forecast
  /** metrics that are shares, told in per cent */
  private shares: ReadonlySet<string> = new Set()
  /** whether the base's weights were unpacked from another form */
  private isPacked = false
  private recent: { tokens: number; seconds: number }[] = []

  constructor(private readonly config: TrainConfig) {}

  readonly hooks: TrainHooks = {
    onStart: (info) => this.start(info),
    onStep: (info) => this.step(info),
    onEvaluation: ({ phase, step, part, improved, values }) => {
      if (phase === 'during')
        note(`step ${step} · ${this.describe(part, values)}${improved ? ' · best so far' : ''}`)
    },
    onEvaluating: ({ part, done, total }) => this.progress.aside(`evaluating ${part} ${done}/${total}`),
    onNotice: (text) => note(`Note: ${text}`),
  }

  private start({ inputs, trainable, resumedAt, compileSeconds, forecast }: Start): void {
    const { model, objective, reason, notices, reports, heldOut, labels, totalSteps } = inputs
    this.shares = new Set(inputs.metrics.filter((m) => m.isShare).map((m) => m.name))
    const how = heldOut ? ` (held out ${heldOut})` : ''
    const sizes = Object.entries(reports).map(
      ([part, r]) => `${part} ${thousands(r.examples)}${part === 'validation' ? how : ''}`,
    )
    this.isPacked = Boolean(model.config.quantization_config)
    printLine(`Model    ${model.file}`)
    printLine(`         ${thousands(model.parameterCount)} parameters, frozen`)
    printLine(
      `Method   ${this.config.method.name}: ${thousands(trainable)} trainable parameters (${percent(trainable / model.parameterCount)})`,
    )
    printLine(`Learn    ${objective.name}, ${reason}`)
    const chosen = Object.entries(this.config.chosen).map(([name, v]) => `${name} ${v}`)
    if (chosen.length > 0) printLine(`         ${chosen.join(', ')}: chosen, as the config leaves them open`)
    printLine(`Data     ${sizes.join(' · ')}${labels.length > 0 ? ` · ${labels.length} labels` : ''}`)
    for (const [part, r] of Object.entries(reports)) {
      if (r.truncated > 0)
        printLine(
          `         ${part}: ${thousands(r.truncated)} examples longer than ${inputs.max_length} tokens were cut (data.max_length)`,
        )
      for (const [what, n] of Object.entries(r.left))
        printLine(`         ${part}, left out: ${thousands(n)} ${what}`)
    }
    for (const text of notices) printLine(`Note     ${text}`)
    printLine(
      `Plan     ${thousands(totalSteps)} steps, compiled in ${compileSeconds.toFixed(1)} s${resumedAt > 0 ? `, resumed after step ${resumedAt}` : ''}`,
    )
    if (this.config.device === 'cpu') {
      this.foretold = forecast
      printLine(`Memory   ${megabytes(forecast.peak)} MB at most, as foretold:`)
      printLine(`         ${partsOf(forecast)}`)
    }
    this.progress.start(totalSteps, resumedAt)
  }

  private step({
    step,
    total,
    loss,
    penalty,
    ranks,
    tokens,
    seconds,
  }: Parameters<NonNullable<TrainHooks['onStep']>>[0]): void {
    this.recent = [...this.recent, { tokens, seconds }].slice(-20)
    const speed =
      this.recent.reduce((s, r) => s + r.tokens, 0) / this.recent.reduce((s, r) => s + r.seconds, 0)
    const memory = process.memoryUsage.rss() / 2 ** 20
    const rate = tokens > 0 ? [`${thousands(Math.round(speed))} tokens/s`] : []
    this.ranks = ranks
    this.progress.update(step, total, [
      `loss ${loss.toFixed(4)}`,
      ...(penalty === undefined ? [] : [`of it penalty ${penalty.toFixed(4)}`]),
      ...rate,
      `${Math.round(memory)} MB`,
      ...(ranks ? [rankPicture(Object.values(ranks))] : []),
    ])
  }

  end(result: TrainResult, words: string): void {
    const { finished, step, before, after, adapter, kept } = result
    this.progress.stop()
    if (!finished)
      return printLine(`Stopped after step ${step}. Continue with: graft train ${words} --resume`)
    for (const part of Object.keys(after)) {
      if (before[part]) printLine(`Before   ${this.describe(part, before[part])}`)
      printLine(`After    ${this.describe(part, after[part])}`)
    }
    if (this.ranks)
      for (const [path, rank] of Object.entries(this.ranks))
        printLine(`Rank     ${String(rank).padStart(3)} ${'▇'.repeat(rank)} ${path}`)
    const waited = this.config.training.early_stopping
    if (result.stoppedEarly)
      printLine(
        `Stopped  early, after step ${step}: ${waited} evaluation${waited === 1 ? '' : 's'} without a better one`,
      )
    if (kept < step) printLine(`Kept     the parameters after step ${kept}, the best on validation data`)
    if (this.foretold)
      printLine(
        `Memory   ${megabytes(largest())} MB at its largest; foretold were ${megabytes(this.foretold.peak)}`,
      )
    printLine(`Adapter  ${adapter}`)
    if (this.isPacked) printLine('Base     packed (quantization_config): graft merge writes plain weights')
    if (!result.rose && this.gainedNothing(before.validation, after.validation))
      printProse(
        'Note     no better on validation data than before training: try more steps or another training.learning_rate.',
      )
    if (result.rose) printProse(loudly(result))
  }

  close(): void {
    this.progress.stop()
  }

  private gainedNothing(before?: Evaluation, after?: Evaluation): boolean {
    if (!before || !after || after.loss < before.loss) return false
    return [...this.shares].every((name) => !(after[name] > before[name]))
  }

  private describe(part: string, { loss, ...metrics }: Evaluation): string {
    const told = Object.entries(metrics).map(
      ([name, v]) => `${name} ${this.shares.has(name) ? percent(v) : v.toFixed(4)}, `,
    )
    return `${part}: ${told.join('')}loss ${loss.toFixed(4)}`
  }
}

const megabytes = (bytes: number): string => thousands(Math.round(bytes / 1e6))
/** Bytes of this process when it was largest. */
const largest = (): number => 1024 * process.resourceUsage().maxRSS
function partsOf({ weights, activations, state, evaluation, runtime }: Forecast): string {
  const parts = { weights, activations, 'trained state': state, evaluation, runtime }
  const told = Object.entries(parts).filter(([, bytes]) => bytes >= 5e5)
  return told.map(([name, bytes]) => `${name} ${megabytes(bytes)}`).join(' · ')
}

/** What is to be said of a run whose loss rose. */
function loudly({ rose, diverged, kept }: TrainResult): string {
  const [from, to] = [rose?.from.toFixed(4), rose?.to.toFixed(4)]
  return `${diverged ? 'Diverged' : 'Note    '} the training loss rose from ${from} to ${to}: lower training.learning_rate. ${diverged ? 'The adapter is no better than the model it began with.' : `What is kept is from step ${kept}.`}`
}

/** One block per module, the higher the more of the greatest rank it has: ranks ▇▅▁▂ 14. */
function rankPicture(ranks: readonly number[]): string {
  const blocks = ' ▁▂▃▄▅▆▇'
  const most = Math.max(1, ...ranks)
  return `ranks ${ranks.map((r) => blocks[Math.ceil((r / most) * 7)]).join('')} ${ranks.reduce((a, b) => a + b, 0)}`
}
