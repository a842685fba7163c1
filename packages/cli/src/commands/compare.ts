import { resolve } from 'node:path'
import { Command } from 'commander'
import {
  columnsOf,
  compare,
  type Comparison,
  type CompareHooks,
  isBest,
  loadComparison,
  Results,
  resultsFile,
  type RunSpec,
  summarise,
  type Summary,
  findings,
  writeReport,
} from '@graft-peft/compare'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples, shellWords } from '../command.js'
import { interruptible } from '../interrupt.js'
import { duration, note, printJson, printLine, printProse, printTable, screen } from '../output.js'
import { pulling } from '../progress.js'
import { barLine } from '../screen.js'
import { version } from '../manifest.js'

interface Flags {
  reportOnly?: boolean
  json?: boolean
}

export const compareCommand: CommandMaker = (exit) =>
  new Command('compare')
    .description(
      'train a model by several methods under the same conditions, and report which is best at what',
    )
    .argument('<config>', 'YAML file: a training config without a method, and compare: { methods: […] }')
    .argument('[overrides...]', 'key=value pairs that replace keys of the config')
    .option('--report-only', 'write the report anew from the results that are there')
    .option('--json', 'print events as JSON Lines, the summary last')
    .addHelpText(
      'after',
      examples(
        'graft compare compare.yaml',
        'graft compare compare.yaml compare.seeds=5 training.epochs=2',
        'graft compare compare.yaml compare.launcher="{name: bullmq, url: redis://queue:6379}"',
        'graft compare compare.yaml --report-only',
      ),
    )
    .action(async (path: string, overrides: string[], flags: Flags) => {
      const registry = defaultRegistry()
      const comparison = await loadComparison(path, registry, overrides, pulling())
      const { signal, release } = interruptible(
        'Stopping; each run keeps a checkpoint. Press Ctrl-C again to stop at once.',
      )
      try {
        const hooks: CompareHooks = { ...(flags.json ? jsonHooks : new RunBars().hooks), signal }
        const results = flags.reportOnly
          ? new Results(resultsFile(comparison))
          : await compare(comparison, registry, resolve(process.argv[1]), hooks)
        screen.close()
        if (signal.aborted) {
          note(`Stopped. Continue with: graft compare ${shellWords(path, ...overrides)}`)
          return exit(130)
        }
        const summary = summarise(comparison, results, registry, version)
        const page = await writeReport(summary, comparison.shared.output)
        if (flags.json) printJson({ event: 'end', report: page, ...summary, runs: undefined })
        else show(summary, page, comparison)
        if (summary.rows.some((r) => r.failures.length > 0)) exit(1)
      } finally {
        screen.close()
        release()
      }
    })

const jsonHooks: Omit<CompareHooks, 'signal'> = {
  onStart: (info) => printJson({ event: 'start', ...info }),
  onChecked: (label, predicted_bytes) => printJson({ event: 'checked', label, predicted_bytes }),
  onProgress: ({ id }, progress) => printJson({ event: 'progress', id, ...progress }),
  onResult: (_, result) =>
    printJson({
      event: 'result',
      ...result,
      curve: undefined,
      answers: undefined,
      ranks: undefined,
      validation: undefined,
    }),
  onNotice: (text) => printJson({ event: 'notice', text }),
}

/** A line for each run under way and one for the whole; in a pipe, a line when a run ends. */
class RunBars {
  /** what is drawn of each run under way */
  private readonly lines = new Map<string, string>()
  /** when each run was first heard of, and at which step */
  private readonly started = new Map<string, { at: number; step: number }>()
  private readonly begun = performance.now()
  private total = 0
  private done = 0
  private first = 0
  private spoken = performance.now()

  readonly hooks: Omit<CompareHooks, 'signal'> = {
    onStart: ({ total, done }) => {
      ;[this.total, this.done, this.first] = [total, done, done]
      this.say(`${total} runs, ${done} of them done already`)
    },
    onChecked: (label, bytes) =>
      this.say(`checked ${label}${bytes > 0 ? `: ${Math.round(bytes / 1e6)} MB predicted` : ''}`),
    onProgress: (spec, { step, total, loss }) => this.progress(spec, step, total, loss),
    onResult: (spec, { status, reason }) =>
      this.result(spec, status === 'done' ? 'done' : `failed: ${reason}`),
    onNotice: (text) => this.say(text),
  }

  private progress(spec: RunSpec, step: number, total: number, loss: number): void {
    const began = this.started.get(spec.id) ?? { at: performance.now(), step }
    this.started.set(spec.id, began)
    const left = ((performance.now() - began.at) / 1000 / Math.max(1, step - began.step)) * (total - step)
    const must = [nameOf(spec), `${duration(left)} left`]
    const rest = [`loss ${loss.toFixed(4)}`, `step ${step}/${total}`]
    this.lines.set(spec.id, barLine(step / total, screen.columns, must, rest))
    this.draw()
    if (!screen.isTerminal && performance.now() - this.spoken > 10_000)
      this.say([...must, ...rest].join(' · '))
  }
  private result(spec: RunSpec, how: string): void {
    this.done++
    this.lines.delete(spec.id)
    const ended = `${this.done}/${this.total} ${nameOf(spec)} ${how}`
    this.say(screen.isTerminal ? ended : [ended, ...this.whole()].join(' · '))
    this.draw()
  }
  private draw(): void {
    const whole = barLine(this.done / this.total, screen.columns, [
      `${this.done} of ${this.total} runs`,
      ...this.whole(),
    ])
    screen.draw([...this.lines.values(), whole])
  }
  /** How long the runs still to be done will take, as far as it is known. */
  private whole(): string[] {
    const [ended, left] = [this.done - this.first, this.total - this.done]
    if (ended === 0 || left === 0) return []
    return [`about ${duration(((performance.now() - this.begun) / 1000 / ended) * left)} left`]
  }
  private say(text: string): void {
    this.spoken = performance.now()
    note(text)
  }
}
const nameOf = ({ label, learning_rate, seed }: RunSpec): string =>
  `${label} (rate ${learning_rate}, seed ${seed})`

/** The table's columns that fit a terminal; all of them stand in the report. */
const onScreen = new Set(['forgetting', 'trainable', 'adapter_mb', 'peak_mb', 'step_s', 'train_s'])

function show(summary: Summary, page: string, { path }: Comparison): void {
  const columns = columnsOf(summary).filter((c, i) => i === 0 || onScreen.has(c.key))
  printLine()
  printTable(
    ['method', ...columns.map((c) => c.title)],
    summary.rows.map((row) => [
      row.label,
      ...columns.map((c) => `${c.text(row)}${isBest(c, row, summary.rows) ? ' *' : ''}`),
    ]),
    ['left', ...columns.map(() => 'right' as const)],
  )
  printProse(
    `* best of its column. ${summary.seeds.length > 1 ? `± is the 95 % interval over ${summary.seeds.length} seeds.` : 'One seed: no interval.'}`,
  )
  for (const line of findings(summary)) printProse(`  ${line}`)
  for (const { label, failures } of summary.rows)
    for (const why of failures) printProse(`  ${label} failed: ${why}`)
  if (summary.picks.length > 0) printLine()
  for (const { priority, label, why } of summary.picks) printProse(`For ${priority}: ${label} (${why}).`)
  if (summary.missing > 0) printProse(`\n${summary.missing} runs have no result yet: graft compare ${path}`)
  printLine(`\nReport   ${page}`)
}
