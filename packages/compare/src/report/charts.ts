import type { TopLevelSpec } from 'vega-lite'
import type { RunResult } from '../results.js'
import type { Row, Summary } from '../table.js'

export interface Chart {
  id: string
  title: string
  /** what to read in it */
  caption: string
  spec: TopLevelSpec
}
const size = { width: 460, height: 300 }
const config: TopLevelSpec['config'] = {
  font: 'system-ui, sans-serif',
  axis: { labelFontSize: 12, titleFontSize: 12 },
  legend: { labelFontSize: 12, titleFontSize: 12 },
  background: '#ffffff',
}

interface Against {
  id: string
  title: string
  of(row: Row): number | undefined
  unit: string
  log?: boolean
}
const against: Against[] = [
  { id: 'parameters', title: 'trained parameters', of: (r) => r.trainable || undefined, unit: '', log: true },
  { id: 'memory', title: 'peak memory', of: (r) => r.peak_bytes && r.peak_bytes / 1e6, unit: ' (MB)' },
  { id: 'time', title: 'training time', of: (r) => r.train_s, unit: ' (s)' },
  {
    id: 'forgetting',
    title: 'forgetting',
    of: (r) => r.forgetting?.mean,
    unit: ' (rise of the loss on the general text)',
  },
]

/** Everything that a report draws, as Vega-Lite. Points are named and lines dashed, so that no colour is needed. */
export function charts(summary: Summary): Chart[] {
  const trained = summary.rows.filter((r) => r.metric && r.trainable)
  const trade = against
    .filter((a) => trained.filter((r) => a.of(r) !== undefined).length > 1)
    .map((a) => tradeOff(a, trained, summary))
  return [...trade, ...curves(summary), ...ranks(summary)]
}

/** The metric against one cost; what nothing beats on both is joined by a line. */
function tradeOff({ id, title, of, unit, log }: Against, rows: readonly Row[], { metric }: Summary): Chart {
  const scale = metric.share ? 100 : 1
  const found = rows.flatMap((r) => {
    const x = of(r)
    if (x === undefined || !r.metric) return []
    const half = r.metric.half ?? 0
    return [
      {
        label: r.label,
        x,
        y: scale * r.metric.mean,
        low: scale * (r.metric.low ?? r.metric.mean - half),
        high: scale * (r.metric.high ?? r.metric.mean + half),
      },
    ]
  })
  const points = found.map((p, i) => ({
    ...p,
    dy: found.slice(0, i).some((q) => near(p, q, found, log)) ? 18 : -11,
  }))
  const better = (a: number, b: number) => (metric.better === 'higher' ? a > b : a < b)
  const front = points.filter(
    (p) => !points.some((q) => (q.x <= p.x && better(q.y, p.y)) || (q.x < p.x && q.y === p.y)),
  )
  const x = {
    field: 'x',
    type: 'quantitative',
    title: `${title}${unit}`,
    scale: { ...(log ? { type: 'log' } : {}), zero: false, nice: true },
  } as const
  const y = { field: 'y', type: 'quantitative', title: metricTitle(metric), scale: { zero: false } } as const
  const spec = {
    ...size,
    config,
    data: { values: points },
    layer: [
      {
        data: { values: front },
        mark: {
          type: 'line',
          interpolate: metric.better === 'higher' ? 'step-after' : 'step-before',
          color: '#999',
          strokeDash: [3, 3],
        },
        encoding: { x, y },
      },
      {
        mark: { type: 'rule', color: '#555' },
        encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' } },
      },
      {
        mark: { type: 'point', filled: true, size: 90, color: '#1f4e79', opacity: 1 },
        encoding: {
          x,
          y,
          tooltip: [
            { field: 'label', title: 'method' },
            { field: 'y', title: metric.name, format: '.4~g' },
            { field: 'x', title, format: '.4~g' },
          ],
        },
      },
      ...[-11, 18].map((dy) => ({
        transform: [{ filter: `datum.dy == ${dy}` }],
        mark: { type: 'text', dy, fontSize: 12 },
        encoding: { x, y, text: { field: 'label' } },
      })),
    ],
  }
  return {
    id,
    title: `${metric.name} against ${title}`,
    caption: `Bars: 95 % interval over seeds. Dashed: what nothing beats on both.`,
    spec: spec as unknown as TopLevelSpec,
  }
}
/** Whether two points stand so close that their names would lie on each other: the later one's goes below. */
function near(p: Place, q: Place, all: readonly Place[], log = false): boolean {
  const apart = (of: (place: Place) => number) =>
    Math.abs(of(p) - of(q)) / (Math.max(...all.map(of)) - Math.min(...all.map(of)) || 1)
  return apart((place) => (log ? Math.log(place.x) : place.x)) < 0.12 && apart((place) => place.y) < 0.06
}
interface Place {
  x: number
  y: number
}
const metricTitle = ({ name, part, share }: Summary['metric']): string =>
  `${name}, ${part}${share ? ' (%)' : ''}`

/** Training loss by step: the mean over seeds, with a band from the least to the greatest. */
function curves({ runs, rows }: Summary): Chart[] {
  const chosen = (r: RunResult) =>
    rows.some((row) => row.label === r.label && row.learning_rate === r.learning_rate) && r.curve
  const values = runs
    .filter(chosen)
    .flatMap(({ label, seed, curve = [] }) => curve.map(([step, loss]) => ({ label, seed, step, loss })))
  if (values.length === 0) return []
  const colour = { field: 'label', type: 'nominal', title: null, scale: { scheme: 'dark2' } }
  const x = { field: 'step', type: 'quantitative', title: 'step' }
  const legend = { symbolType: 'stroke', symbolSize: 400 }
  const y = {
    type: 'quantitative',
    title: 'training loss',
    scale: { type: 'symlog', constant: 0.1, zero: false },
  }
  const spec = {
    ...size,
    width: 620,
    height: 340,
    config,
    data: { values },
    // The band's own legend would show areas where lines are told apart by their dashes.
    resolve: { legend: { color: 'independent', strokeDash: 'independent' } },
    layer: [
      {
        mark: { type: 'errorband', extent: 'ci', opacity: 0.15 },
        encoding: { x, y: { ...y, field: 'loss' }, color: { ...colour, legend: null } },
      },
      {
        mark: { type: 'line', strokeWidth: 1.5 },
        encoding: {
          x,
          y: { ...y, field: 'loss', aggregate: 'mean' },
          color: { ...colour, legend },
          strokeDash: { field: 'label', type: 'nominal', title: null, legend },
        },
      },
    ],
  }
  return [
    {
      id: 'loss',
      title: 'training loss',
      caption: 'Mean over seeds, each point over the steps before it; bands: 95 % interval.',
      spec: spec as unknown as TopLevelSpec,
    },
  ]
}

/** Ranks in use by module over the steps, for each method that changes them. */
function ranks({ runs, rows }: Summary): Chart[] {
  return rows.flatMap(({ label, learning_rate }) => {
    const run = runs.find((r) => r.label === label && r.learning_rate === learning_rate && r.ranks)
    if (!run?.ranks) return []
    const values = allotted(run.ranks).flatMap(({ step, ranks: at }) =>
      Object.entries(at).map(([module, rank]) => ({ step, module, rank })),
    )
    const modules = new Set(values.map((v) => v.module)).size
    const spec = {
      width: 620,
      height: Math.max(160, modules * 12),
      config,
      data: { values },
      mark: 'rect',
      encoding: {
        x: { field: 'step', type: 'ordinal', title: 'step', axis: { labelOverlap: true } },
        y: {
          field: 'module',
          type: 'nominal',
          title: null,
          sort: null,
          axis: { labelLimit: 260, labelFontSize: 9 },
        },
        color: { field: 'rank', type: 'quantitative', title: 'rank', scale: { scheme: 'greys' } },
        tooltip: [{ field: 'module' }, { field: 'step' }, { field: 'rank' }],
      },
    }
    return [
      {
        id: `ranks-${label.replace(/\W+/g, '-')}`,
        title: `${label}: rank by module`,
        caption: `Seed ${run.seed}. The darker, the more ranks a module has.`,
        spec: spec as unknown as TopLevelSpec,
      },
    ]
  })
}

/** Between two allotments what was cut grows again: the low points say how many ranks were allotted. */
function allotted(history: NonNullable<RunResult['ranks']>): NonNullable<RunResult['ranks']> {
  const total = history.map(({ ranks: at }) => Object.values(at).reduce((a, b) => a + b, 0))
  return history.filter(
    (_, i) => i === history.length - 1 || (total[i] <= total[i + 1] && (i === 0 || total[i] <= total[i - 1])),
  )
}
