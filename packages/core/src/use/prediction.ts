import type { OpenedAdapter } from '../adapter/open.js'
import type { Example } from '../data/example.js'

/** What a model says of a record: a class, a class per token, a number, or an embedding, as its objective has it. */
export type Prediction =
  | { prediction: string; score: number }
  | { prediction: number }
  | { prediction: (string | null)[]; scores: (number | null)[] }
  | { embedding: number[] }

interface Classified {
  label: string
  /** probability of that label */
  score: number
}

/** Logits of an example's rows in the objective's words. */
export function described(
  rows: readonly Float32Array[],
  { labels, options: { objective } }: OpenedAdapter,
  { words }: Example,
): Prediction {
  if (!objective.classifies) return { prediction: rows[0][0] }
  const classes = rows.map((row) => mostLikely(row.subarray(0, labels.length), labels))
  if (objective.answers === 'tokens') return perWord(classes, words)
  return { prediction: classes[0].label, score: rounded(classes[0].score) }
}

/** A prediction for each word; null for one that has no token of its own, or lies beyond max_length. */
function perWord(classes: readonly Classified[], words: Example['words']): Prediction {
  const count = words?.count ?? classes.length
  const prediction = new Array<string | null>(count).fill(null)
  const scores = new Array<number | null>(count).fill(null)
  classes.forEach(({ label, score }, k) => {
    const word = words?.at[k] ?? k
    prediction[word] = label
    scores[word] = rounded(score)
  })
  return { prediction, scores }
}
const rounded = (score: number): number => Number(score.toFixed(6))

function mostLikely(logits: Float32Array, labels: readonly string[]): Classified {
  const greatest = Math.max(...logits)
  const total = logits.reduce((sum, v) => sum + Math.exp(v - greatest), 0)
  return { label: labels[logits.indexOf(greatest)], score: 1 / total }
}
