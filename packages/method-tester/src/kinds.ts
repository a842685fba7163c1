import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GraftError, type Metric, Random, type Reader, type Schedule, type Scored } from '@graft-peft/core'
import { readRecords } from '@graft-peft/core/app'
import { learningRate } from '@graft-peft/core/inside'
import { fail } from './cases.js'
import { type Framework } from './method.js'

/** Throws where a schedule's factor is no factor of a learning rate, somewhere in runs of 1 to 1000 steps. */
export function checkSchedule(schedule: Schedule, options: Record<string, unknown> = {}): void {
  let most = 0
  for (const total of [1, 2, 10, 1000])
    for (const warmup_steps of [0, 3])
      for (let t = 1; t <= total; t++) {
        const rate = () => learningRate({ learning_rate: 1, warmup_steps }, { schedule, options }, t, total)
        const found = rate()
        if (found !== rate())
          fail(
            `factor gives ${found} for step ${t} of ${total}, and then another number: it must follow from the step alone, or a resumed run differs.`,
          )
        if (found > 1 + 1e-9)
          fail(
            `factor gives ${found} for step ${t} of ${total}; learning_rate is the greatest rate of a run: 0 to 1.`,
          )
        if (warmup_steps === 0) most = Math.max(most, found)
      }
  if (most === 0) fail('every factor is 0: nothing would be trained.')
}

/** What a metric is tested on. */
export interface MetricCases {
  /** names of the classes; three that mean nothing when left out */
  labels?: readonly string[]
}
/** Rows of the examples that metrics see, one example after the other. */
const lengths = [5, 1, 8, 10]

/** Throws where a metric's number depends on how examples come in batches, or on evaluations before. */
export function checkMetric(
  metric: Metric,
  { labels = ['label 0', 'label 1', 'label 2'] }: MetricCases = {},
): void {
  const random = new Random(4, 'metric')
  const targets = Array.from({ length: 24 }, (_, i) => i % labels.length)
  // Rows beside one another that belong to two examples are a wrong one and a right one.
  const [firsts, lasts] = [
    [6, 14],
    [4, 5, 13],
  ]
  const guesses = targets.map((t, i) => {
    if (lasts.includes(i)) return (t + 1) % labels.length
    return firsts.includes(i) || random.normal() > 0 ? t : random.below(labels.length)
  })
  const batch = (predictions: readonly number[], first: number, end: number): Scored => {
    const [from, to] = [first, end].map((k) => lengths.slice(0, k).reduce((a, b) => a + b, 0))
    return {
      predictions: predictions.slice(from, to),
      targets: targets.slice(from, to),
      loss: predictions.slice(from, to).reduce((s, p, i) => s + (p === targets[from + i] ? 0.1 : 2), 0),
      labels,
      lengths: lengths.slice(first, end),
    }
  }
  const scored = (predictions: readonly number[], cuts = [0, 4]): number => {
    const tally = metric.start()
    cuts.slice(1).forEach((end, i) => tally.add(batch(predictions, cuts[i], end)))
    return tally.result()
  }
  const whole = scored(guesses)
  if (!Number.isFinite(whole)) fail(`result is ${whole} on 24 rows of ${labels.length} classes.`)
  if (Math.abs(scored(guesses) - whole) > 1e-9)
    fail('a second evaluation of the same rows gives another number: each start() counts from nothing.')
  const split = scored(guesses, [0, 1, 2, 4])
  if (!(Math.abs(split - whole) < 1e-6 * Math.max(1, Math.abs(whole))))
    fail(
      `rows in one batch give ${whole}, the same rows in three ${split}: gather sums in add and divide in result, and look at each example's rows by lengths.`,
    )
  const [best, worst] = [scored(targets), scored(targets.map((t) => (t + 1) % labels.length))]
  if (metric.better === 'higher' ? best < worst : best > worst)
    fail(`right predictions give ${best}, wrong ones ${worst}, and better is ${metric.better}.`)
  if (best === worst)
    fail(`right and wrong predictions both give ${best}: are predictions and targets compared?`)
  if (metric.isShare && [whole, best, worst].some((v) => v < 0 || v > 1))
    fail(
      `isShare is true, but a result is ${[whole, best, worst].find((v) => v < 0 || v > 1)}; shares are from 0 to 1.`,
    )
}

/** A file that a reader is to read. */
export interface ReaderCase {
  /** with one of the reader's endings */
  name: string
  content: string | Uint8Array
  /** the fields of its records; or, for a file that is none, what the error must say */
  records?: readonly Readonly<Record<string, unknown>>[]
  error?: RegExp
}

/** Throws where a reader gives other records of a file than it should, or fails without saying where. */
export async function checkReader(
  reader: Reader,
  { name, content, records, error }: ReaderCase,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'graft-reader-'))
  const path = join(folder, name)
  try {
    writeFileSync(path, content)
    const read = async () => {
      const found: { fields: unknown; where: string }[] = []
      for await (const { fields, where } of readRecords(path, () => {}, [reader]))
        found.push({ fields, where })
      return found
    }
    const found = await read().catch((thrown: Error) => thrown)
    if (found instanceof Error) {
      if (!(found instanceof GraftError) || found.code === 'PLUGIN_FAILED')
        return fail(
          `${name} ends in "${found.message}": throw a GraftError with the file, the line and what to do.`,
        )
      if (!error) return fail(`${name} is refused: ${found.message}`)
      if (!error.test(found.message)) fail(`${name} is refused with "${found.message}", expected ${error}.`)
      return
    }
    if (error) return fail(`${name} is read, but should be refused with ${error}.`)
    const [got, wanted] = [JSON.stringify(found.map((r) => r.fields)), JSON.stringify(records ?? [])]
    if (got !== wanted) fail(`${name} is read as ${got}, expected ${wanted}.`)
    const nowhere = found.find(({ where }) => !where.includes(name))
    if (nowhere) fail(`a record's where is "${nowhere.where}": name the file and the line, as ${name}:3.`)
    const places = new Set(found.map((r) => r.where)).size
    if (places === 1 && found.length > 1 && content.includes('\n' as never))
      fail('all records have the same where: an error could not say which is meant.')
    if (JSON.stringify(await read()) !== JSON.stringify(found))
      fail(`${name} is read otherwise the second time.`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Declares the conformance tests of a schedule, under each of these options. */
export function testSchedule(
  { describe, it }: Framework,
  schedule: Schedule,
  options: readonly Record<string, unknown>[] = [{}],
): void {
  describe(`schedule ${schedule.name}`, () => {
    for (const own of options)
      it(`gives factors from 0 to 1 ${JSON.stringify(own)}`, async () => checkSchedule(schedule, own))
  })
}
/** Declares the conformance tests of a metric. */
export function testMetric({ describe, it }: Framework, metric: Metric, cases?: MetricCases): void {
  describe(`metric ${metric.name}`, () => {
    it('counts rows alike in any batches, and says which way is better', async () =>
      checkMetric(metric, cases))
  })
}
/** Declares the conformance tests of a reader. */
export function testReader({ describe, it }: Framework, reader: Reader, cases: readonly ReaderCase[]): void {
  describe(`reader ${reader.name}`, () => {
    it('has a case', async () => {
      if (cases.length === 0) fail('there is no case, so nothing is tested.')
    })
    for (const test of cases) it(`reads ${test.name}`, () => checkReader(reader, test))
  })
}
