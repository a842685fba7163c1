import { type Pick, Row, Summary } from './table.js'

/** Three answers to "which method?", each by a rule that is stated. */
export function picks(rows: readonly Row[], { name, part }: Summary['metric']): Pick[] {
  const trained = rows.filter((r) => r.metric && (r.trainable ?? 0) > 0)
  const [best] = trained
  if (!best) return []
  const alike = [best, ...trained.filter((r) => best.alike.includes(r.label))]
  const small = least(alike, (r) => r.trainable)
  const light = least(alike, (r) => r.peak_bytes)
  const keeping = least(alike, (r) => r.forgetting?.mean)
  const quick = least(alike, (r) => r.train_s)
  const score = `${name} (${part})`
  const among =
    alike.length > 1 ? ` among the ${alike.length} that can't be told from the best ${score}`
    : best.done > 1 ? `: its ${score} is the best beyond chance`
    : `: it has the best ${score}, though one seed says nothing about chance` // biome-ignore format: a table
  const found: (Pick | undefined)[] = [
    small && {
      priority: 'the best result, in the smallest file',
      label: small.label,
      why: `fewest trained parameters${among}`,
    },
    light && {
      priority: 'a result as good, in the least memory',
      label: light.label,
      why: `least peak memory${among}`,
    },
    keeping && {
      priority: 'a result as good, forgetting least',
      label: keeping.label,
      why: `smallest rise of the loss on the general text${among}`,
    },
    // Where forgetting wasn't measured, time is the third thing to care about.
    keeping
      ? undefined
      : quick && {
          priority: 'a result as good, in the least time',
          label: quick.label,
          why: `shortest training${among}`,
        },
  ]
  return found.filter((p): p is Pick => p !== undefined)
}
function least(rows: readonly Row[], of: (row: Row) => number | undefined): Row | undefined {
  return [...rows].filter((r) => of(r) !== undefined).sort((a, b) => (of(a) as number) - (of(b) as number))[0]
}
