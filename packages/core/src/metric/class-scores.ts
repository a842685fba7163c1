import { entities, entityType } from './entities.js'
import type { Scored } from './metric.js'

/** How one class is told from the others, as scikit-learn's classification_report has it. */
export interface ClassScore {
  label: string
  /** of those predicted to be of the class, the share that are; 0 where none was */
  precision: number
  /** of those of the class, the share that were found; 0 where there are none */
  recall: number
  /** harmonic mean of the two */
  f1: number
  /** how many are of the class */
  support: number
}
/** Scores of the classes that occur or are predicted, and their means. */
export interface ClassScores {
  each: ClassScore[]
  /** mean over the classes, and the same weighted by support */
  macro: ClassMean
  weighted: ClassMean
}
/** Precision, recall and F1 of a class, or their mean. */
export type ClassMean = Omit<ClassScore, 'label'>

interface Counts {
  hit: number
  predicted: number
  actual: number
}
class Tally {
  private readonly counts = new Map<string, Counts>()

  of(label: string): Counts {
    const counts = this.counts.get(label) ?? { hit: 0, predicted: 0, actual: 0 }
    this.counts.set(label, counts)
    return counts
  }
  /** in an order of classes, or by their names */
  scores(order: readonly string[] = [...this.counts.keys()].sort()): ClassScores {
    const classes = order.flatMap((label) => {
      const counts = this.counts.get(label)
      return counts ? [{ label, ...scoreOf(counts) }] : []
    })
    return { each: classes, macro: mean(classes, () => 1), weighted: mean(classes, (c) => c.support) }
  }
}
const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b)
const scoreOf = ({ hit, predicted, actual }: Counts): ClassMean => ({
  precision: ratio(hit, predicted),
  recall: ratio(hit, actual),
  f1: ratio(2 * hit, predicted + actual),
  support: actual,
})
function mean(classes: readonly ClassScore[], weight: (c: ClassScore) => number): ClassMean {
  const total = classes.reduce((sum, c) => sum + weight(c), 0)
  const of = (key: 'precision' | 'recall' | 'f1') =>
    ratio(
      classes.reduce((sum, c) => sum + c[key] * weight(c), 0),
      total,
    )
  const support = classes.reduce((sum, c) => sum + c.support, 0)
  return { precision: of('precision'), recall: of('recall'), f1: of('f1'), support }
}

/** Classes that were meant and classes that were predicted, row by row. */
export class Confusion {
  private readonly tally = new Tally()
  /** true class → predicted class → rows */
  private readonly rows = new Map<number, Map<number, number>>()
  private labels: readonly string[] = []

  add({ predictions, targets, labels }: Scored): void {
    this.labels = labels
    targets.forEach((t, i) => {
      const p = predictions[i]
      this.tally.of(labels[t]).actual++
      this.tally.of(labels[p]).predicted++
      if (t === p) this.tally.of(labels[t]).hit++
      const row = this.rows.get(t) ?? new Map<number, number>()
      this.rows.set(t, row.set(p, (row.get(p) ?? 0) + 1))
    })
  }
  scores(): ClassScores {
    return this.tally.scores(this.labels)
  }
  /** rows by true class, in the order of `scores`, and predicted class */
  matrix(): number[][] {
    const present = this.scores().each.map(({ label }) => this.labels.indexOf(label))
    return present.map((t) => present.map((p) => this.rows.get(t)?.get(p) ?? 0))
  }
}

/** Entities that were meant and that were found, by their types, as seqeval's classification_report: one is right when borders and type are. */
export class EntityCounts {
  private readonly tally = new Tally()

  add({ predictions, targets, labels, lengths = [targets.length] }: Scored): void {
    let from = 0
    for (const length of lengths) {
      const named = (list: readonly number[]) =>
        entities(list.slice(from, from + length).map((i) => labels[i]))
      const [own, right] = [named(predictions), named(targets)]
      for (const entity of right) this.tally.of(entityType(entity)).actual++
      for (const entity of own) {
        const counts = this.tally.of(entityType(entity))
        counts.predicted++
        if (right.has(entity)) counts.hit++
      }
      from += length
    }
  }
  scores(): ClassScores {
    return this.tally.scores()
  }
}
