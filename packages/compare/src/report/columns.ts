import type { Interval } from '../statistics.js'
import { noPick } from '../picks.js'
import type { Row, Summary } from '../table.js'

export interface Column {
  /** key in the CSV */
  key: string
  title: string
  /** what it says, in a sentence */
  help: string
  value(row: Row): number | undefined
  text(row: Row): string
  /** which end is the good one, where there is one */
  better?: 'higher' | 'lower'
}

const share = (v: number): string => (100 * v).toFixed(1)
/** Mean ± half, or both ends where they aren't alike. */
function withInterval(i: Interval | undefined, text: (v: number) => string): string {
  if (!i || i.half === null) return i ? text(i.mean) : ''
  const ends = i.low === undefined || i.high === undefined ? undefined : `${text(i.low)}–${text(i.high)}`
  return ends ? `${text(i.mean)} (${ends})` : `${text(i.mean)} ± ${text(i.half)}`
}
const number = (digits: number) => (v: number) => v.toFixed(digits)
const optional = (v: number | undefined, text: (v: number) => string): string =>
  v === undefined ? '' : text(v)
const thousands = (v: number): string => Math.round(v).toLocaleString('en-US')
const mega = (bytes: number | undefined): number | undefined => bytes && bytes / 1e6
const megabytes = (v: number): string => v.toFixed(v < 1 ? 2 : v < 100 ? 1 : 0)

/** The table's columns after the label. */
export function columnsOf({ metric, rows }: Pick<Summary, 'metric' | 'rows'>): Column[] {
  const score = metric.share ? share : number(4)
  const unit = metric.share ? ' %' : ''
  const all: (Column | false)[] = [
    {
      key: metric.name,
      title: `${metric.name} (${metric.part})${unit}`,
      help: 'mean over seeds, with the 95 % interval of that mean',
      better: metric.better,
      value: (r) => r.metric?.mean,
      text: (r) => withInterval(r.metric, score),
    },
    metric.part === 'test' &&
      rows.some((r) => r.validation) && {
        key: 'validation',
        title: `${metric.name} (validation)${unit}`,
        help: 'what checkpoints and learning rates were chosen by',
        better: metric.better,
        value: (r) => r.validation?.mean,
        text: (r) => withInterval(r.validation, score),
      },
    rows.some((r) => r.forgetting) && {
      key: 'forgetting',
      title: 'forgetting',
      help: 'rise of the loss per token on the general text',
      better: 'lower',
      value: (r) => r.forgetting?.mean,
      text: (r) => withInterval(r.forgetting, number(3)),
    },
    {
      key: 'trainable',
      title: 'trained parameters',
      help: 'head included',
      better: 'lower',
      value: (r) => r.trainable,
      text: (r) => optional(r.trainable, thousands),
    },
    {
      key: 'share',
      title: 'of the base %',
      help: 'trained parameters in proportion to those of the base',
      better: 'lower',
      value: (r) => shareOf(r),
      text: (r) => optional(shareOf(r), (v) => (100 * v).toPrecision(3)),
    },
    {
      key: 'adapter_mb',
      title: 'adapter MB',
      help: "size of the adapter's file",
      better: 'lower',
      value: (r) => mega(r.adapter_bytes),
      text: (r) => optional(mega(r.adapter_bytes), megabytes),
    },
    {
      key: 'peak_mb',
      title: 'peak memory MB',
      help: 'of the whole process, measured',
      better: 'lower',
      value: (r) => mega(r.peak_bytes),
      text: (r) => optional(mega(r.peak_bytes), megabytes),
    },
    {
      key: 'predicted_mb',
      title: 'predicted MB',
      help: 'of the training step, before anything ran; evaluation is not in it',
      value: (r) => mega(r.predicted_bytes),
      text: (r) => optional(mega(r.predicted_bytes), megabytes),
    },
    {
      key: 'step_s',
      title: 'step s',
      help: 'median of the training steps',
      better: 'lower',
      value: (r) => r.step_s,
      text: (r) => optional(r.step_s, number(3)),
    },
    {
      key: 'tokens_per_s',
      title: 'tokens/s',
      help: 'padding not counted',
      better: 'higher',
      value: (r) => r.tokens_per_s || undefined,
      text: (r) => optional(r.tokens_per_s || undefined, thousands),
    },
    {
      key: 'train_s',
      title: 'training s',
      help: 'all steps, without evaluations',
      better: 'lower',
      value: (r) => r.train_s,
      text: (r) => optional(r.train_s, number(1)),
    },
    {
      key: 'compile_s',
      title: 'compiling s',
      help: 'from the opened model to a session ready to run',
      better: 'lower',
      value: (r) => r.compile_s,
      text: (r) => optional(r.compile_s, number(2)),
    },
    {
      key: 'tflop',
      title: 'work TFLOP',
      help: 'of the whole training, counted from the graph: what energy goes by',
      better: 'lower',
      value: (r) => r.flops && r.flops / 1e12,
      text: (r) => optional(r.flops && r.flops / 1e12, (v) => v.toPrecision(3)),
    },
    {
      key: 'learning_rate',
      title: 'learning rate',
      help: 'the best of those tried, by validation',
      value: (r) => r.learning_rate,
      text: (r) => (r.trainable ? String(r.learning_rate) : ''),
    },
  ]
  return all.filter((c): c is Column => c !== false)
}
const shareOf = ({ trainable, parameters }: Row): number | undefined =>
  trainable !== undefined && parameters ? trainable / parameters : undefined

/** Whether a row has the best value of a column among those that were trained. */
export function isBest(column: Column, row: Row, rows: readonly Row[]): boolean {
  const own = column.value(row)
  if (!column.better || own === undefined || !row.trainable) return false
  const others = rows
    .filter((r) => r.trainable)
    .map(column.value)
    .filter((v): v is number => v !== undefined)
  return own === (column.better === 'higher' ? Math.max(...others) : Math.min(...others))
}

/** What is to be known of a table, in sentences without a full stop: what diverged, what gained nothing, what can't be told apart. */
export function findings(summary: Summary): string[] {
  const { rows } = summary
  const diverged = rows
    .filter((r) => r.diverged > 0)
    .map((r) => `${r.label}: the loss rose in ${r.diverged} of ${r.done} runs: a lower learning rate`)
  return [noPick(summary), ...diverged, ...withinNoise(summary)].filter((s) => s !== undefined)
}

/** What can't be told apart: the longest runs of neighbours in the table, each said once. */
function withinNoise({ rows, seeds }: Pick<Summary, 'rows' | 'seeds'>): string[] {
  const said: string[] = []
  let reached = -1
  rows.forEach((row, i) => {
    let last = i
    while (last + 1 < rows.length && row.alike.includes(rows[last + 1].label)) last++
    if (last === i || last <= reached) return
    reached = last
    const labels = rows.slice(i, last + 1).map((r) => r.label)
    said.push(
      `${labels.slice(0, -1).join(', ')} and ${labels.at(-1)} can't be told apart at ${seeds.length} seeds`,
    )
  })
  return said
}
