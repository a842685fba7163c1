import { type Pick, Row, Summary } from './table.js'

/** At most this share of the best method's parameters, or memory, is worth a lower score to some. */
const [muchSmaller, muchLighter] = [0.1, 0.8]
/** What two runs of the same differ by: what is closer is equal. */
const [sameMemory, sameTime] = [0.02, 0.05]

/**
 * Answers to "which method?", each by a rule that is stated. Only what learnt something is recommended; "the smallest" and "the least" are
 * said only of a choice among several that differ in it, and those that are equal are named. Where one method is better than all others, what costs far less stands beside it, with what that costs.
 */
export function picks(rows: readonly Row[], metric: Summary['metric']): Pick[] {
  const [best, ...others] = rows.filter((r) => r.metric && (r.trainable ?? 0) > 0 && r.gained)
  if (!best) return []
  const alike = [best, ...others.filter((r) => best.alike.includes(r.label))]
  return alike.length > 1
    ? amongAlike(alike, metric)
    : [theBest(best, metric), ...cheaper(best, others, metric)]
}

/** Why nothing is recommended, where that is so. */
export function noPick({ rows, metric, picks: found }: Findings): string | undefined {
  const trained = rows.filter((r) => r.metric && (r.trainable ?? 0) > 0)
  if (found.length > 0 || trained.length === 0) return undefined
  return `No method is recommended: none has a better ${metric.name} (${metric.part}) than the base beyond chance`
}
type Findings = { rows: readonly Row[]; metric: Summary['metric']; picks: readonly Pick[] }

function amongAlike(alike: readonly Row[], { name, part }: Summary['metric']): Pick[] {
  const among = `among the ${alike.length} that can't be told from the best ${name} (${part})`
  const pick = (
    priority: string,
    why: string,
    of: (row: Row) => number | undefined,
    near: number = 0,
  ): Pick[] => {
    const row = least(alike, of)
    if (!row) return []
    const equal = alike.filter((r) => r !== row && (of(r) ?? Infinity) <= (1 + near) * (of(row) as number))
    if (equal.length === alike.length - 1) return []
    const said = equal.length > 0 ? `, ${equal.map((r) => r.label).join(', ')} being equal in it` : ''
    return [{ priority, label: row.label, why: `${why} ${among}${said}` }]
  }
  const keeping = pick(
    'a result as good, forgetting least',
    'smallest rise of the loss on the general text',
    (r) => r.forgetting?.mean,
  )
  return [
    ...pick('the best result, in the smallest file', 'fewest trained parameters', (r) => r.trainable),
    ...pick('a result as good, in the least memory', 'least peak memory', (r) => r.peak_bytes, sameMemory),
    // Where forgetting wasn't measured, time is the third thing to care about.
    ...(keeping.length > 0
      ? keeping
      : pick('a result as good, in the least time', 'shortest training', (r) => r.train_s, sameTime)),
  ]
}

function theBest(best: Row, { name, part }: Summary['metric']): Pick {
  const why = best.done > 1 ? 'beyond chance' : 'though one seed says nothing about chance'
  return { priority: 'the best result', label: best.label, why: `the best ${name} (${part}), ${why}` }
}

/** What learnt something for far less: the best of those. */
function cheaper(best: Row, others: readonly Row[], metric: Summary['metric']): Pick[] {
  const pick = (
    priority: string,
    of: (row: Row) => number | undefined,
    most: number,
    say: (v: number) => string,
    unit: string,
  ) => {
    const whole = of(best)
    const row = others.find((r) => whole !== undefined && (of(r) ?? Number.POSITIVE_INFINITY) <= most * whole)
    if (!row || whole === undefined) return []
    const cost = `${metric.name} ${scoreText(row, metric)} instead of ${scoreText(best, metric)}`
    return [
      {
        priority,
        label: row.label,
        why: `${say(of(row) as number)} instead of ${say(whole)} ${unit}, ${cost}`,
      },
    ]
  }
  const count = (v: number) => Math.round(v).toLocaleString('en-US')
  const megabytes = (v: number) => Math.round(v / 1e6).toLocaleString('en-US')
  return [
    ...pick('a much smaller file', (r) => r.trainable, muchSmaller, count, 'trained parameters'),
    ...pick('less memory', (r) => r.peak_bytes, muchLighter, megabytes, 'MB'),
  ]
}
const scoreText = ({ metric }: Row, { share }: Summary['metric']): string =>
  metric === undefined ? '' : share ? `${(100 * metric.mean).toFixed(1)} %` : metric.mean.toFixed(4)

function least(rows: readonly Row[], of: (row: Row) => number | undefined): Row | undefined {
  return [...rows].filter((r) => of(r) !== undefined).sort((a, b) => (of(a) as number) - (of(b) as number))[0]
}
