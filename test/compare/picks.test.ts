import { describe, expect, test } from 'vitest'
import { columnsOf, type Summary } from '@graft-peft/compare'
import { noPick, picks } from '../../packages/compare/src/picks.js'
import { findings } from '../../packages/compare/src/report/columns.js'
import { csv } from '../../packages/compare/src/report/markdown.js'
import { interval, within } from '../../packages/compare/src/statistics.js'

type Row = Summary['rows'][number]
const metric = { name: 'accuracy', better: 'higher', share: true, part: 'test' } as const
const row = (label: string, scores: readonly number[], more: Partial<Row> = {}): Row => ({
  label,
  method: label,
  options: {},
  learning_rate: 1e-3,
  rates: [],
  done: scores.length,
  failures: [],
  bySeed: Object.fromEntries(scores.map((s, i) => [i, s])),
  metric: within(interval(scores), true),
  gained: true,
  diverged: 0,
  alike: [],
  trainable: 1000,
  peak_bytes: 1e9,
  train_s: 10,
  ...more,
})
const full = row('full', [0.9, 0.91, 0.92], { trainable: 19_000, peak_bytes: 3e9, train_s: 40 })

describe('what is recommended', () => {
  test('the best is called the smallest of nothing where nothing is alike', () => {
    const small = row('lora', [0.8, 0.81, 0.79])
    const found = picks([full, small], metric)
    expect(found.map((p) => [p.priority, p.label])).toEqual([
      ['the best result', 'full'],
      ['a much smaller file', 'lora'],
      ['less memory', 'lora'],
    ])
    expect(found[1].why).toBe('1,000 instead of 19,000 trained parameters, accuracy 80.0 % instead of 91.0 %')
    expect(found[2].why).toMatch(/1,000 instead of 3,000 MB, accuracy 80\.0 % instead of 91\.0 %/)
  })
  test('among rows that are alike, each for what it is the least in', () => {
    const rows = [
      { ...full, alike: ['lora', 'ia3'] },
      row('lora', [0.9, 0.9, 0.9], { peak_bytes: 2e9, train_s: 5 }),
      row('ia3', [0.9, 0.91, 0.9], { trainable: 10 }),
    ]
    expect(picks(rows, metric).map((p) => p.label)).toEqual(['ia3', 'ia3', 'lora'])
    expect(picks(rows, metric)[0].why).toMatch(/among the 3 that can't be told from the best accuracy/)
  })
  test('what is equal is called equal, and where all are, nobody is the least', () => {
    const alike = { alike: ['lora', 'ia3', 'vera'] }
    const rows = [
      { ...full, ...alike },
      row('lora', [0.9, 0.9, 0.9], { peak_bytes: 1.001e9, trainable: 10, train_s: 39 }),
      row('ia3', [0.9, 0.91, 0.9], { trainable: 10, train_s: 38.5 }),
      row('vera', [0.9, 0.91, 0.9], { peak_bytes: 1.5e9, trainable: 11, train_s: 39.5 }),
    ]
    const found = picks(rows, metric)
    expect(found.map((p) => [p.priority, p.label])).toEqual([
      ['the best result, in the smallest file', 'lora'],
      ['a result as good, in the least memory', 'ia3'],
    ])
    expect(found[0].why).toMatch(/, ia3 being equal in it$/)
    expect(found[1].why).toMatch(/, lora being equal in it$/)
  })
  test('nothing that is no better than what training began with', () => {
    const rows = [
      row('lora', [0.1, 0.2, 0.1], { gained: false }),
      row('base', [0.1, 0.1, 0.1], { trainable: 0 }),
    ]
    expect(picks(rows, metric)).toEqual([])
    expect(noPick({ rows, metric, picks: [] } as unknown as Summary)).toBe(
      'No method is recommended: none has a better accuracy (test) than the base beyond chance',
    )
  })
})

describe('figures', () => {
  test('the interval of a share ends at 0 and 1', () => {
    const rows = [row('lora', [0.9, 1, 1])]
    const [column] = columnsOf({ metric, rows })
    expect(column.text(rows[0])).toBe('96.7 (82.3–100.0)')
    expect(column.text(full)).toBe('91.0 ± 2.5')
  })
  test('columns named MB and TFLOP hold those', () => {
    const rows = [{ ...full, adapter_bytes: 12_600_000, predicted_bytes: 5e8, flops: 3e12 }]
    const summary = { metric, rows, seeds: [0, 1, 2] } as unknown as Summary
    const [head, line] = csv(summary, columnsOf(summary))
      .split('\n')
      .map((l) => l.split(','))
    const cell = (key: string) => Number(line[head.indexOf(key)])
    expect([cell('adapter_mb'), cell('peak_mb'), cell('predicted_mb'), cell('tflop')]).toEqual([
      12.6, 3000, 500, 3,
    ])
  })
  test('what diverged is told', () => {
    const rows = [{ ...full, diverged: 2 }]
    expect(
      findings({ rows, metric, seeds: [0, 1, 2], picks: picks(rows, metric) } as unknown as Summary),
    ).toEqual(['full: the loss rose in 2 of 3 runs: a lower learning rate'])
  })
})
