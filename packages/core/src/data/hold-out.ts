import { Permutation } from './order.js'

/**
 * Which records of a file are held out. Groups (classes) are each held out in proportion, as scikit-learn's `stratify` does: what is over
 * goes to the groups with the largest remainders, and each keeps a record at least. A function of seed, counts and order alone.
 */
export class HoldOut<G> {
  private readonly groups: ReadonlyMap<G, { held: number; order: Permutation }>
  readonly count: number

  /** `sizes`: records of each group; `name` tells apart permutations of one seed */
  constructor(sizes: ReadonlyMap<G, number>, share: number, seed: number, name: string) {
    const held = portions(sizes, share)
    this.count = [...held.values()].reduce((a, b) => a + b, 0)
    this.groups = new Map(
      [...sizes].map(([group, size]) => [
        group,
        {
          held: held.get(group) ?? 0,
          order: new Permutation(size, seed, sizes.size > 1 ? `${name}/${group}` : name),
        },
      ]),
    )
  }

  /** Says of records, asked in the file's order, whether they are held out. */
  pass(): (group: G) => boolean {
    const seen = new Map<G, number>()
    return (group) => {
      const { held, order } = this.groups.get(group) as { held: number; order: Permutation }
      const i = seen.get(group) ?? 0
      seen.set(group, i + 1)
      return order.at(i) < held
    }
  }
  /** groups of which nothing is held out */
  get without(): G[] {
    return [...this.groups].filter(([, { held }]) => held === 0).map(([group]) => group)
  }
}

/** How many of each group: its share rounded down, and the rest to the largest remainders. */
function portions<G>(sizes: ReadonlyMap<G, number>, share: number): Map<G, number> {
  const total = Math.floor([...sizes.values()].reduce((a, b) => a + b, 0) * share)
  const held = new Map([...sizes].map(([group, size]) => [group, Math.floor(size * share)]))
  const remainder = ([, size]: [G, number]) => size * share - Math.floor(size * share)
  let left = total - [...held.values()].reduce((a, b) => a + b, 0)
  for (const [group, size] of [...sizes].sort((a, b) => remainder(b) - remainder(a))) {
    const more = (held.get(group) ?? 0) + 1
    if (left === 0 || more >= size) continue
    held.set(group, more)
    left--
  }
  return held
}
