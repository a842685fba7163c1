import { adapt } from '../compile/adapt.js'
import { Coder, defaultMaxLength } from '../data/coder.js'
import { inMemory } from '../data/dataset.js'
import type { DataRecord } from '../data/records.js'
import { GraftError } from '../errors.js'
import { type Example, isEmpty } from '../data/example.js'
import type { SessionOptions } from '../runtime/session.js'
import { Evaluator } from '../step/evaluator.js'
import { type OpenedAdapter, parametersOf } from '../adapter/open.js'

export interface Classified {
  label: string
  /** probability of that label */
  score: number
}
/** What a model says of a record: a class, a class per token, a number, or an embedding, as its objective has it. */
export type Prediction =
  | { prediction: string; score: number }
  | { prediction: number }
  | { prediction: (string | null)[]; scores: (number | null)[] }
  | { embedding: number[] }

const batchSize = 32
/** How many records are looked at together, so that batches are of like length. */
const window = batchSize * 8

/** Predicts for records with an adapter, in order, a window at a time, or with `atOnce` each as it comes. Throws NOT_A_CLASSIFIER for an adapter that continues texts. */
export async function* predict(
  opened: OpenedAdapter,
  records: AsyncIterable<DataRecord>,
  session: SessionOptions = {},
  { atOnce = false }: { atOnce?: boolean } = {},
): AsyncGenerator<{ record: DataRecord; prediction: Prediction }> {
  const { model, options, folder } = opened
  if (!options.objective.input)
    throw new GraftError(
      'NOT_A_CLASSIFIER',
      `${folder}: its objective is ${options.objective.name}, which writes texts; use graft generate.`,
    )
  const coder = new Coder(model, opened.labels, {
    columns: opened.columns,
    max_length: opened.max_length ?? defaultMaxLength(model),
    train_on_prompt: false,
    tasks: options.method.tasks?.(options.methodOptions),
  })
  const parameters = parametersOf(opened, adapt(model, { ...options, training: false }))
  const evaluator = await Evaluator.open(model, options, { ...session, pad: coder.pad, batchSize })
  try {
    for await (const group of windows(records, atOnce ? 1 : window))
      yield* predictGroup(opened, coder, evaluator, parameters, group)
  } finally {
    await evaluator.close()
  }
}

async function* predictGroup(
  opened: OpenedAdapter,
  coder: Coder,
  evaluator: Evaluator,
  parameters: Float32Array,
  group: readonly DataRecord[],
) {
  const { objective } = opened.options
  const encode = (r: DataRecord) => ({ ...(objective.input?.(r, coder) as Example), ...coder.task(r) })
  const examples = await Promise.all(group.map((r) => coder.load(encode(r))))
  const empty = examples.findIndex(isEmpty)
  if (empty >= 0)
    throw new GraftError(
      'NO_TOKENS',
      `${group[empty].where}: the text has no tokens, so there is nothing to predict from. Leave the record out.`,
    )
  if (objective.answers === 'vector') {
    const found = await evaluator.embeddings(inMemory(examples), parameters)
    for (const [i, record] of group.entries())
      yield { record, prediction: { embedding: Array.from(found[i]) } }
    return
  }
  const logits = await evaluator.logits(inMemory(examples), parameters)
  for (const [i, record] of group.entries())
    yield { record, prediction: describe(logits[i], opened, examples[i]) }
}

function describe(
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

async function* windows(records: AsyncIterable<DataRecord>, size: number): AsyncGenerator<DataRecord[]> {
  let group: DataRecord[] = []
  for await (const record of records) {
    group.push(record)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
