import { entities } from './entities.js'
import { defineMetric, type Metric, type Scored } from './metric.js'

/** A mean over rows of f(prediction, target). */
const rowMean = (f: (prediction: number, target: number) => number) => () => {
  let [sum, rows] = [0, 0]
  return {
    add({ predictions, targets }: Scored) {
      targets.forEach((t, i) => {
        sum += f(predictions[i], t)
      })
      rows += targets.length
    },
    result: () => sum / rows,
  }
}

const accuracy = defineMetric({
  name: 'accuracy',
  better: 'higher',
  isShare: true,
  start: rowMean((p, t) => Number(p === t)),
})
const meanSquaredError = defineMetric({
  name: 'mean-squared-error',
  better: 'lower',
  isShare: false,
  start: rowMean((p, t) => (p - t) ** 2),
})

/** e to the mean loss per token. */
const perplexity = defineMetric({
  name: 'perplexity',
  better: 'lower',
  isShare: false,
  start() {
    let [loss, rows] = [0, 0]
    return {
      add(batch) {
        loss += batch.loss
        rows += batch.targets.length
      },
      result: () => Math.exp(loss / rows),
    }
  },
})

/** Mean over classes of the harmonic mean of precision and recall; classes that neither occur nor are predicted don't count. */
const f1 = defineMetric({
  name: 'f1',
  better: 'higher',
  isShare: true,
  start() {
    const counts = new Map<number, { hit: number; predicted: number; actual: number }>()
    const of = (c: number) => counts.get(c) ?? counts.set(c, { hit: 0, predicted: 0, actual: 0 }).get(c)!
    return {
      add({ predictions, targets }) {
        targets.forEach((t, i) => {
          of(t).actual++
          of(predictions[i]).predicted++
          if (t === predictions[i]) of(t).hit++
        })
      },
      result: () =>
        [...counts.values()].reduce(
          (sum, { hit, predicted, actual }) => sum + (2 * hit) / (predicted + actual),
          0,
        ) / counts.size,
    }
  },
})

/** Correlation of two lists. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (v: readonly number[]) => v.reduce((s, x) => s + x, 0) / v.length
  const [ma, mb] = [mean(a), mean(b)]
  const dot = (f: (i: number) => number) => a.reduce((s, _, i) => s + f(i), 0)
  return (
    dot((i) => (a[i] - ma) * (b[i] - mb)) /
    Math.sqrt(dot((i) => (a[i] - ma) ** 2) * dot((i) => (b[i] - mb) ** 2))
  )
}
/** Ranks from 1, equal values sharing their mean rank. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b])
  const result = new Array<number>(values.length)
  for (let i = 0, j = 0; i < order.length; i = j) {
    while (j < order.length && values[order[j]] === values[order[i]]) j++
    for (let k = i; k < j; k++) result[order[k]] = (i + j + 1) / 2
  }
  return result
}
const correlated = (name: string, of: (values: readonly number[]) => readonly number[]): Metric =>
  defineMetric({
    name,
    better: 'higher',
    isShare: false,
    start() {
      const [predictions, targets]: [number[], number[]] = [[], []]
      return {
        add(batch) {
          predictions.push(...batch.predictions)
          targets.push(...batch.targets)
        },
        result: () => correlation(of(predictions), of(targets)),
      }
    },
  })

/** F1 over whole entities, as seqeval counts them: one is right when its borders and its type are. */
const entityF1 = defineMetric({
  name: 'entity-f1',
  better: 'higher',
  isShare: true,
  start() {
    let [hit, predicted, actual] = [0, 0, 0]
    return {
      add({ predictions, targets, labels, lengths = [targets.length] }) {
        let from = 0
        for (const length of lengths) {
          const named = (list: readonly number[]) =>
            entities(list.slice(from, from + length).map((i) => labels[i]))
          const [own, right] = [named(predictions), named(targets)]
          hit += [...own].filter((e) => right.has(e)).length
          predicted += own.size
          actual += right.size
          from += length
        }
      },
      result: () => (predicted + actual === 0 ? 1 : (2 * hit) / (predicted + actual)),
    }
  },
})

/** Metrics that come with the core. */
export const metrics: readonly Metric[] = [
  accuracy,
  f1,
  perplexity,
  meanSquaredError,
  correlated('pearson', (v) => v),
  correlated('spearman', ranks),
  entityF1,
]
