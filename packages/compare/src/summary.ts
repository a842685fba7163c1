import { cpus, totalmem } from 'node:os'
import { type Registry, runtimeVersion } from '@graft-peft/core/app'
import type { Comparison, Entry } from './comparison.js'
import { picks } from './picks.js'
import type { Results, RunResult } from './results.js'
import { differ, type Interval, interval, within } from './statistics.js'
import { type Row, type Summary } from './table.js'

export function summarise(
  comparison: Comparison,
  results: Results,
  registry: Registry,
  version: string,
): Summary {
  const runs = comparison.runs.map(({ id }) => results.get(id)).filter((r): r is RunResult => r !== undefined)
  const metric = metricOf(comparison, runs, registry)
  const rows = comparison.entries
    .map((entry) => rowOf(entry, runs, metric))
    .sort((a, b) => worth(b, metric) - worth(a, metric))
  for (const row of rows)
    row.alike = rows
      .filter(
        (other) =>
          other !== row && row.done > 1 && other.done > 1 && !(differ(seedMap(row), seedMap(other)) ?? true),
      )
      .map((r) => r.label)
  const { model, data } = comparison.shared
  return {
    graft: version,
    node: process.versions.node,
    runtime: runtimeVersion,
    machine: `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB`,
    model: model.split('/').at(-1) as string,
    data: {
      train: leaf(data.train),
      validation: typeof data.validation === 'string' ? leaf(data.validation) : data.validation,
      test: data.test && leaf(data.test),
    },
    metric,
    seeds: comparison.seeds,
    rows,
    picks: picks(rows, metric),
    missing: comparison.runs.length - runs.length,
    config: shown(comparison),
    runs,
  }
}
const leaf = (path: string): string => path.split('/').at(-1) as string
const seedMap = ({ bySeed }: Row): Map<number, number> =>
  new Map(Object.entries(bySeed).map(([seed, v]) => [Number(seed), v]))

/** What the table is sorted by: the config's metric or the objective's first, on the test file where there is one. */
function metricOf({ shared }: Comparison, runs: readonly RunResult[], registry: Registry): Summary['metric'] {
  const part = shared.data.test ? 'test' : 'validation'
  const names = Object.keys(runs.find((r) => r.after?.[part])?.after?.[part] ?? {}).filter(
    (n) => n !== 'loss',
  )
  const name = shared.metric ?? names[0] ?? 'loss'
  const metric = registry.all('metric').find((m) => m.name === name)
  return { name, better: metric?.better ?? 'lower', share: metric?.isShare ?? false, part }
}
const worth = ({ metric }: Row, { better }: Summary['metric']): number =>
  metric ? (better === 'higher' ? metric.mean : -metric.mean) : Number.NEGATIVE_INFINITY

function rowOf(
  { label, method, options }: Entry,
  all: readonly RunResult[],
  { name, better, part, share }: Summary['metric'],
): Row {
  const own = all.filter((r) => r.label === label)
  const score = (r: RunResult, of = part) => r.after?.[of]?.[name]
  const rates = [...new Set(own.map((r) => r.learning_rate))].map((learning_rate) => {
    const at = own.filter((r) => r.learning_rate === learning_rate && r.status === 'done')
    return { learning_rate, score: mean(at.map((r) => score(r, 'validation') ?? score(r))) ?? Number.NaN }
  })
  // The rate is chosen on validation data, never on the test file.
  const best =
    [...rates].sort((a, b) =>
      Number.isNaN(a.score)
        ? 1
        : Number.isNaN(b.score)
          ? -1
          : better === 'higher'
            ? b.score - a.score
            : a.score - b.score,
    )[0]?.learning_rate ?? 0
  const chosen = own.filter((r) => r.learning_rate === best)
  const done = chosen.filter((r) => r.status === 'done')
  const average = (of: (r: RunResult) => number | undefined) => mean(done.map(of))
  const over = (of: (r: RunResult) => number | undefined) => intervalOf(done.map(of))
  const scored = (of: (r: RunResult) => number | undefined) => within(over(of), share)
  return {
    label,
    method,
    options,
    learning_rate: best,
    rates,
    done: done.length,
    failures: [...new Set(chosen.filter((r) => r.status === 'failed').map((r) => r.reason as string))],
    bySeed: bySeed(done, (r) => score(r)),
    gained: gained(
      bySeed(done, (r) => score(r)),
      bySeed(done, (r) => r.before?.[part]?.[name]),
      better,
    ),
    diverged: done.filter((r) => r.diverged).length,
    metric: scored((r) => score(r)),
    validation: scored((r) => score(r, 'validation')),
    forgetting: over((r) => r.forgetting && r.forgetting.after - r.forgetting.before),
    parameters: average((r) => r.parameters),
    trainable: average((r) => r.trainable),
    adapter_bytes: average((r) => r.adapter_bytes),
    compile_s: average((r) => r.compile_s),
    step_s: average((r) => r.step_s),
    tokens_per_s: average((r) => r.tokens_per_s),
    train_s: average((r) => r.train_s),
    peak_bytes: average((r) => r.peak_bytes),
    predicted_bytes: average((r) => r.predicted_bytes),
    flops: average((r) => r.flops),
    alike: [],
  }
}
function bySeed(
  runs: readonly RunResult[],
  of: (r: RunResult) => number | undefined,
): Record<number, number> {
  const scored = runs.filter((r) => of(r) !== undefined)
  return Object.fromEntries(scored.map((r) => [r.seed, of(r) as number]))
}
/** Whether scores are better than those before training: by chance's measure where there are several seeds. */
function gained(
  after: Record<number, number>,
  before: Record<number, number>,
  better: 'higher' | 'lower',
): boolean {
  const seeds = Object.keys(after)
    .map(Number)
    .filter((seed) => seed in before)
  const rise = mean(seeds.map((seed) => after[seed] - before[seed])) ?? 0
  const asMap = (scores: Record<number, number>) => new Map(seeds.map((seed) => [seed, scores[seed]]))
  const improved = better === 'higher' ? rise > 0 : rise < 0
  return improved && (differ(asMap(after), asMap(before)) ?? true)
}
const known = (values: readonly (number | undefined)[]): number[] =>
  values.filter((v): v is number => v !== undefined)
const mean = (values: readonly (number | undefined)[]): number | undefined =>
  known(values).length > 0 ? interval(known(values)).mean : undefined
const intervalOf = (values: readonly (number | undefined)[]): Interval | undefined =>
  known(values).length > 0 ? interval(known(values)) : undefined

/** The exact settings, paths cut to their last part: a report is for others to read. */
function shown({ shared, entries, runs, seeds }: Comparison): unknown {
  const { output: _, model, data, plugins: __, ...rest } = shared
  const { budget, forgetting } = runs[0]
  return {
    model: leaf(model),
    data: { ...data, train: leaf(data.train), test: data.test && leaf(data.test) },
    ...rest,
    compare: {
      entries: entries.map(({ label, method, options, rates }) => ({
        label,
        name: method,
        ...options,
        learning_rates: rates,
      })),
      seeds,
      budget,
      forgetting: forgetting && { ...forgetting, file: leaf(forgetting.file) },
    },
  }
}
