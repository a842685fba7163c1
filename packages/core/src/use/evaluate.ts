import { tmpdir } from 'node:os'
import { type OpenedAdapter, parametersOf } from '../adapter/open.js'
import { adapt } from '../compile/adapt.js'
import type { Registry } from '../container.js'
import type { Coder } from '../data/coder.js'
import { Spool } from '../data/dataset.js'
import { type Example, isEmpty, supervisedRows } from '../data/example.js'
import type { DataRecord } from '../data/records.js'
import { GraftError } from '../errors.js'
import { type ClassScores, Confusion, EntityCounts } from '../metric/class-scores.js'
import type { Metric } from '../metric/metric.js'
import type { SessionOptions } from '../runtime/session.js'
import { type Evaluation, Evaluator } from '../step/evaluator.js'
import { coderOf } from './coder.js'

/** How good an adapter is on records with their answers. */
export interface EvaluationReport {
  objective: string
  /** records that were evaluated */
  examples: number
  /** rows that the loss is the mean of: examples, labelled tokens, or tokens to be written */
  rows: number
  /** what was left out, by reason */
  left: Readonly<Record<string, number>>
  /** the loss, and the objective's metrics by name */
  values: Evaluation
  metrics: readonly Metric[]
  /** for objectives with classes: each class, and rows by true class and predicted class, in the same order */
  classes?: ClassScores & { confusion: number[][] }
  /** for classes of tokens: entities by their type */
  entities?: ClassScores
}
/** How it is computed. */
export interface EvaluateOptions extends SessionOptions {
  /** examples computed together: 32 classes, numbers or images, 8 texts */
  batchSize?: number
  onProgress?: (done: number, total: number) => void
}

/**
 * Compares what an adapter predicts with the answers of records, by its objective's metrics.
 *
 * @throws MISSING_FIELD, UNKNOWN_LABEL, NO_SUPERVISED_TOKENS.
 */
export async function evaluate(
  opened: OpenedAdapter,
  records: AsyncIterable<DataRecord>,
  registry: Registry,
  options: EvaluateOptions = {},
): Promise<EvaluationReport> {
  const coder = coderOf(opened)
  const encoding = new Encoding(opened, coder)
  const data = await Spool.fill(tmpdir(), encoding.examples(records), (e) => coder.load(e))
  try {
    if (data.length === 0)
      throw new GraftError(
        'NO_SUPERVISED_TOKENS',
        `None of the records has an answer to compare with: ${left(coder)}.`,
      )
    const { rows, most } = encoding
    const scores = await scored(opened, { data, most, pad: coder.pad }, registry, options)
    return {
      objective: opened.options.objective.name,
      examples: data.length,
      rows,
      left: coder.left,
      ...scores,
    }
  } finally {
    data.close()
  }
}

async function scored(
  opened: OpenedAdapter,
  { data, most, pad }: { data: Spool; most: number; pad: number },
  registry: Registry,
  { batchSize, onProgress, ...session }: EvaluateOptions,
): Promise<Pick<EvaluationReport, 'values' | 'metrics' | 'classes' | 'entities'>> {
  const { model, labels } = opened
  const { objective } = opened.options
  const size = batchSize ?? (objective.answers === 'text' ? 8 : 32)
  const options = { ...opened.options, expectedRows: size * most }
  const parameters = parametersOf(opened, adapt(model, { ...options, training: false }))
  const evaluator = await Evaluator.open(model, options, { ...session, pad, batchSize: size })
  const confusion = objective.classifies ? new Confusion() : undefined
  const found = objective.answers === 'tokens' ? new EntityCounts() : undefined
  const metrics = objective.metrics.map((name) => registry.get('metric', name))
  try {
    const values = await evaluator.evaluate(data, parameters, metrics, labels, {
      onProgress: (done) => onProgress?.(done, data.length),
      onScored(batch) {
        confusion?.add(batch)
        found?.add(batch)
      },
    })
    return {
      values,
      metrics,
      ...(confusion ? { classes: { ...confusion.scores(), confusion: confusion.matrix() } } : {}),
      ...(found ? { entities: found.scores() } : {}),
    }
  } finally {
    await evaluator.close()
  }
}

const left = (coder: Coder): string =>
  Object.entries(coder.left)
    .map(([reason, n]) => `${n} ${reason}`)
    .join('; ')

/** Records to examples, those without anything to compare counted and left out. */
class Encoding {
  rows = 0
  /** rows of the example that has most */
  most = 0
  constructor(
    private readonly opened: OpenedAdapter,
    private readonly coder: Coder,
  ) {}

  async *examples(records: AsyncIterable<DataRecord>): AsyncGenerator<Example> {
    const { coder } = this
    for await (const record of records) {
      const example = { ...this.opened.options.objective.encode(record, coder), ...coder.task(record) }
      const rows = supervisedRows(example)
      if (isEmpty(example)) coder.leave('examples without a token')
      else if (rows === 0) coder.leave('examples without a token to compare')
      else {
        this.rows += rows
        this.most = Math.max(this.most, rows)
        yield example
      }
    }
  }
}
