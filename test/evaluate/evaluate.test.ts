import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClassMean, ClassScores } from '@graft-peft/core/app'
import { Confusion, EntityCounts } from '@graft-peft/core/inside'
import { describe, expect, test } from 'vitest'
import { confusionLines } from '../../packages/cli/dist/confusion.js'
import { graft, root, temporaryFolder, writeRun } from '../fixture.js'

type Report = Record<string, { precision: number; recall: number; 'f1-score': number; support: number }>
interface Golden {
  classes: {
    labels: string[]
    true: string[]
    predicted: string[]
    present: string[]
    report: Report
    matrix: number[][]
  }[]
  entities: { labels: string[]; true: string[][]; predicted: string[][]; report: Report }[]
}
const golden = JSON.parse(readFileSync(join(root, 'test/evaluate/reports.json'), 'utf8')) as Golden

function expectScores({ each, macro, weighted }: ClassScores, report: Report): void {
  const same = (own: ClassMean, name: string) => {
    const { precision, recall, 'f1-score': f1, support } = report[name]
    expect([own.precision, own.recall, own.f1]).toEqual(
      [precision, recall, f1].map((v) => expect.closeTo(v, 12)),
    )
    expect(own.support).toBe(support)
  }
  for (const score of each) same(score, score.label)
  same(macro, 'macro avg')
  same(weighted, 'weighted avg')
}

describe('scores per class', () => {
  test.each(golden.classes)(
    "are scikit-learn's, with its confusion matrix ($labels.length classes)",
    (of) => {
      const numbers = (names: string[]) => names.map((n) => of.labels.indexOf(n))
      const [targets, predictions] = [numbers(of.true), numbers(of.predicted)]
      const confusion = new Confusion()
      for (let at = 0; at < targets.length; at += 7) {
        const [t, p] = [targets, predictions].map((list) => list.slice(at, at + 7))
        confusion.add({ targets: t, predictions: p, labels: of.labels, loss: 0 })
      }
      expect(confusion.scores().each.map((c) => c.label)).toEqual(of.present)
      expectScores(confusion.scores(), of.report)
      expect(confusion.matrix()).toEqual(of.matrix)
    },
  )
  test.each(golden.entities)("of entities are seqeval's", (of) => {
    const counts = new EntityCounts()
    const numbers = (rows: string[][]) => rows.flat().map((tag) => of.labels.indexOf(tag))
    counts.add({
      targets: numbers(of.true),
      predictions: numbers(of.predicted),
      labels: of.labels,
      lengths: of.true.map((row) => row.length),
      loss: 0,
    })
    expectScores(counts.scores(), of.report)
  })
})

describe('the confusion matrix', () => {
  const scored = (labels: string[], pairs: [number, number][]) => {
    const confusion = new Confusion()
    confusion.add({ targets: pairs.map(([t]) => t), predictions: pairs.map(([, p]) => p), labels, loss: 0 })
    return { ...confusion.scores(), confusion: confusion.matrix() }
  }
  test('is drawn where it fits', () => {
    const lines = confusionLines(scored(['no', 'yes'], [[0, 0], [0, 1], [1, 1]]), 80) // biome-ignore format: pairs
    expect(lines.slice(1)).toEqual(['        1  2', ' no  1  1  1', 'yes  2  ·  1'])
  })
  test('is folded to the largest confusions by name where it does not', () => {
    const labels = Array.from({ length: 40 }, (_, i) => `class ${i}`)
    const right = labels.map((_, i): [number, number] => [i, i])
    const lines = confusionLines(scored(labels, [...right, [3, 9], [3, 9], [20, 1]]), 80)
    expect(lines).toEqual([
      'Largest confusions of 40 classes (the whole matrix: --json)',
      'class     taken for  times  of class',
      'class 3   class 9        2    66.7 %',
      'class 20  class 1        1    50.0 %',
    ])
    for (const line of confusionLines(scored(labels, [...right, [3, 9]]), 80))
      expect(line.length).toBeLessThan(81)
  })
})

/** Trains a little; evaluates on the given lines; gives what both said. */
async function evaluated(settings: object, lines: string[], records = lines) {
  const folder = temporaryFolder()
  const config = writeRun(folder, { training: { max_steps: 12 }, ...settings }, lines)
  writeFileSync(join(folder, 'test.jsonl'), records.join('\n'))
  const run = await graft(['train', config, 'data.test=test.jsonl', '--json'])
  expect(run.code, run.stderr).toBe(0)
  const trained = JSON.parse(run.stdout.trim().split('\n').at(-1) as string)
  const [adapter, file] = [join(folder, 'out/adapter'), join(folder, 'test.jsonl')]
  const { code, stdout, stderr } = await graft(['evaluate', adapter, file, '--json'])
  expect(code, stderr).toBe(0)
  return { adapter, file, trained: trained.after.test, report: JSON.parse(stdout) }
}
/** Batches of other sizes round otherwise. */
function expectClose(found: Record<string, number>, wanted: Record<string, number>): void {
  const close = Object.entries(wanted).map(([name, v]) => [name, expect.closeTo(v, 5)])
  expect(found).toEqual(Object.fromEntries(close))
}
const json = (records: object[]): string[] => records.map((record) => JSON.stringify(record))

describe('graft evaluate', () => {
  test('counts what graft predict says, and agrees with the run', async () => {
    const records = ['my card', 'the parcel', 'opening hours', 'a refund'].flatMap((text, i) =>
      [1, 2, 3, 4, 5].map((n) => ({
        text: `${text}${' now'.repeat(n)}`,
        label: ['pay', 'post', 'time', 'back'][i],
      })),
    )
    const { adapter, file, trained, report } = await evaluated({ data: { validation: 0 } }, json(records))
    expectClose(report.values, trained)
    const said = (await graft(['predict', adapter, file])).stdout
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l))
    const labels = report.classes.each.map((c: { label: string }) => c.label)
    const counts = labels.map((t: string) =>
      labels.map((p: string) => said.filter((r) => r.label === t && r.prediction === p).length),
    )
    expect(report.classes.confusion).toEqual(counts)
    const { stdout } = await graft(['evaluate', adapter, file])
    expect(stdout).toMatch(/^back +\d+\.\d % +\d+\.\d % +\d+\.\d % +5$/m)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThan(81 + adapter.length)

    const strange = await graft(['evaluate', adapter, '-'], { input: '{"text": "a", "label": "poste"}' })
    expect(strange.stderr).toMatch(/-:1: label poste does not occur in the training data\. Did you mean post/)
    const none = await graft(['evaluate', adapter, '-'], { input: '{"text": "a"}' })
    expect(none.stderr).toMatch(/-:1: expected a label in field label, got none/)
  })
  test('has perplexity for texts', async () => {
    const records = Array.from({ length: 12 }, (_, i) => ({
      prompt: `What is ${i}?`,
      completion: ` It is ${i}.`,
    }))
    const { report, trained } = await evaluated({ data: { validation: 0 } }, json(records))
    expect(Object.keys(report.values)).toEqual(['loss', 'perplexity', 'accuracy'])
    expect(report.values.perplexity).toBeCloseTo(Math.exp(report.values.loss), 9)
    expect(report.values.loss).toBeCloseTo(trained.loss, 5)
    expect(report.rows).toBeGreaterThan(report.examples)
    expect(report.classes).toBeUndefined()
  })
  test('has entities for classes of tokens, and says what it left out', async () => {
    const records = Array.from({ length: 10 }, (_, i) => ({
      tokens: ['I', 'live', 'in', ['Rome', 'Oslo'][i % 2]],
      labels: ['O', 'O', 'O', 'B-city'],
    }))
    const more = [...records, { tokens: [], labels: [] }]
    const settings = { objective: 'token-classification', data: { validation: 0 } }
    const { report } = await evaluated(settings, json(records), json(more))
    expect(report.entities.each).toEqual([expect.objectContaining({ label: 'city', support: 10 })])
    expect(report.entities.weighted.f1).toBeCloseTo(report.values['entity-f1'], 12)
    expect(report.left).toEqual({ 'examples without a token to compare': 1 })
  })
  test('has correlations for numbers', async () => {
    const records = Array.from({ length: 12 }, (_, i) => ({ text: `${i} apples`, label: i / 4 }))
    const settings = { objective: 'regression', data: { validation: 0 } }
    const { report, trained } = await evaluated(settings, json(records))
    expectClose(report.values, trained)
    expect(report.metrics).toEqual(['mean-squared-error', 'pearson', 'spearman'])
  })
})
