import {
  defineMetric,
  defineOptimizer,
  defineSchedule,
  type Metric,
  type OptimizerKind,
  type Schedule,
} from '@graft-peft/core'
import { Registry } from '@graft-peft/core/app'
import {
  checkMetric,
  checkSchedule,
  optimizerChecks,
  type ReaderCase,
  testMetric,
  testOptimizer,
  testReader,
  testSchedule,
} from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'

const registry = new Registry()
const optimizer = (name: string) => registry.get('optimizer', name)

testOptimizer({ describe, it }, optimizer('adamw'), [
  {
    numbers: { weight_decay: 0.1, betas: [0.8, 0.95] },
    reference({ t, rate, parameters, gradient, state }) {
      const m = parameters.map((_, i) => 0.8 * (state.m?.[i] ?? 0) + 0.2 * gradient[i])
      const v = parameters.map((_, i) => 0.95 * (state.v?.[i] ?? 0) + 0.05 * gradient[i] ** 2)
      Object.assign(state, { m, v })
      return parameters.map(
        (p, i) =>
          p * (1 - rate * 0.1) -
          (rate * (m[i] / (1 - 0.8 ** t))) / (Math.sqrt(v[i] / (1 - 0.95 ** t)) + 1e-8),
      )
    },
  },
  {},
])
testOptimizer({ describe, it }, optimizer('sgd'), [
  {
    numbers: { momentum: 0.9, weight_decay: 0.01 },
    reference({ rate, parameters, gradient, state }) {
      const b = parameters.map((p, i) => 0.9 * (state.b?.[i] ?? 0) + gradient[i] + 0.01 * p)
      Object.assign(state, { b })
      return parameters.map((p, i) => p - rate * b[i])
    },
  },
  {},
])
for (const schedule of registry.all('schedule')) testSchedule({ describe, it }, schedule)
for (const metric of registry.all('metric')) testMetric({ describe, it }, metric)
testMetric({ describe, it }, registry.get('metric', 'entity-f1'), {
  labels: ['O', 'B-place', 'I-place', 'B-name'],
})

const rows = [
  { text: 'a, b', n: 1 },
  { text: 'c', n: 2 },
]
const lines = rows.map((r) => JSON.stringify(r)).join('\n')
const files: Readonly<Record<string, readonly ReaderCase[]>> = {
  'json-lines': [
    { name: 'a.jsonl', content: lines, records: rows },
    { name: 'b.ndjson', content: '{"a": 1}\n{"a"', error: /b\.ndjson:2/ },
  ],
  json: [
    { name: 'a.json', content: JSON.stringify(rows), records: rows },
    { name: 'b.json', content: '[{"a": 1}', error: /b\.json/ },
  ],
  csv: [
    {
      name: 'a.csv',
      content: 'text,n\n"a, b",1\nc,2\n',
      records: [
        { text: 'a, b', n: '1' },
        { text: 'c', n: '2' },
      ],
    },
  ],
}
for (const [name, cases] of Object.entries(files))
  testReader({ describe, it }, registry.get('reader', name), cases)

describe('faults planted in an optimiser', () => {
  type Update = ReturnType<OptimizerKind['create']>['update']
  const spoiled = (update: Update, more: Partial<ReturnType<OptimizerKind['create']>> = {}): OptimizerKind =>
    defineOptimizer({
      name: 'own',
      create: () => ({ state: [], scalars: (_, rate) => [rate], update, ...more }),
    })
  let calls = 0
  it.each<[string, OptimizerKind, RegExp]>([
    [
      'goes uphill',
      spoiled((g, { parameters, gradient, scalars: [r] }) => ({
        parameters: g.add(parameters, g.mul(r, gradient)),
        state: [],
      })),
      /sign of the step/,
    ],
    [
      'divides by a root without epsilon',
      spoiled((g, { parameters, gradient, scalars: [r] }) => ({
        parameters: g.sub(parameters, g.mul(r, g.div(gradient, g.sqrt(g.square(gradient))))),
        state: [],
      })),
      /root plus epsilon/,
    ],
    [
      'forgets rateScale',
      spoiled((g, { parameters, gradient, scalars: [r] }) => ({
        parameters: g.sub(parameters, g.mul(r, gradient)),
        state: [],
      })),
      /multiply the rate by rateScale/,
    ],
    [
      'counts its own steps',
      spoiled(
        (g, { parameters, gradient, scalars: [r] }) => ({
          parameters: g.sub(parameters, g.mul(r, gradient)),
          state: [],
        }),
        { scalars: (_, rate) => [rate * (1 + ++calls / 100)] },
      ),
      /outside the state vectors/,
    ],
    [
      'names a state that it does not give',
      spoiled(
        (g, { parameters, gradient, scalars: [r] }) => ({
          parameters: g.sub(parameters, g.mul(r, gradient)),
          state: [],
        }),
        { state: ['m'] },
      ),
      /returns 0 state vectors; state names 1/,
    ],
    [
      'has a state of a taken name',
      spoiled(() => ({}) as never, { state: ['parameters'] }),
      /the name is taken/,
    ],
    [
      'gives scalars that are none',
      spoiled(() => ({}) as never, { scalars: () => [Number.NaN] }),
      /list of finite numbers/,
    ],
  ])('%s', async (_what, kind, says) => {
    const messages: string[] = []
    for (const check of optimizerChecks)
      await check.run(kind, {}).catch((e: Error) => messages.push(e.message))
    expect(messages.join('\n')).toMatch(says)
  })
  it('is off its reference', async () => {
    const check = optimizerChecks.find((c) => c.name.startsWith('it equals'))!
    const run = check.run(optimizer('sgd'), {
      reference: ({ rate, parameters, gradient }) => parameters.map((p, i) => p - 1.01 * rate * gradient[i]),
    })
    await expect(run).rejects.toThrow(/off the reference/)
  })
})

describe('faults planted in schedules and metrics', () => {
  const schedule = (factor: Schedule['factor']) => defineSchedule({ name: 'own', factor })
  let calls = 0
  it.each<[string, Schedule, RegExp]>([
    [
      'falls below 0',
      schedule(({ share }) => 0.5 - share),
      /factor gave -.*expected a finite number, 0 or more/,
    ],
    ['divides by nothing', schedule(({ step, total }) => (total - step) / (total - 1)), /factor gave NaN/],
    ['goes beyond 1', schedule(({ step }) => step), /learning_rate is the greatest rate/],
    ['is 0 throughout', schedule(() => 0), /nothing would be trained/],
    ['is another one each time', schedule(() => 1 / ++calls), /must follow from the step alone/],
  ])('a schedule that %s', (_what, own, says) => expect(() => checkSchedule(own)).toThrow(says))

  const mean = (score: (p: number, t: number) => number, changes: Partial<Metric> = {}): Metric =>
    defineMetric({
      name: 'own',
      better: 'higher',
      isShare: true,
      start() {
        let [sum, n] = [0, 0]
        return {
          add: ({ predictions, targets }) =>
            targets.forEach((t, i) => {
              sum += score(predictions[i], t)
              n++
            }),
          result: () => sum / n,
        }
      },
      ...changes,
    })
  const kept = { sum: 0, n: 0 }
  it.each<[string, Metric, RegExp]>([
    ['has it the wrong way round', mean((p, t) => Number(p === t), { better: 'lower' }), /better is lower/],
    ['ignores the targets', mean((p) => p / 3), /gives? |both give/],
    ['is no share', mean((p, t) => Number(p === t) * 100), /shares are from 0 to 1/],
    [
      'averages means of batches',
      mean(() => 0, {
        start() {
          const all: number[] = []
          return {
            add: ({ predictions, targets }) =>
              void all.push(targets.filter((t, i) => t === predictions[i]).length / targets.length),
            result: () => all.reduce((a, b) => a + b, 0) / all.length,
          }
        },
      }),
      /gather sums in add/,
    ],
    [
      'never begins anew',
      mean(() => 0, {
        start: () => ({
          add: ({ predictions, targets }) =>
            targets.forEach((t, i) => {
              kept.sum += Number(predictions[i] === t) * (kept.n + 1)
              kept.n++
            }),
          result: () => kept.sum / kept.n ** 2,
        }),
      }),
      /counts from nothing/,
    ],
    [
      'takes a batch for one text',
      mean(() => 0, {
        start() {
          let [right, rows] = [0, 0]
          return {
            add({ predictions, targets }) {
              const isRight = predictions.map((p, i) => p === targets[i])
              right += isRight.filter((r, i) => r && (i === 0 || isRight[i - 1])).length
              rows += targets.length
            },
            result: () => right / rows,
          }
        },
      }),
      /by lengths/,
    ],
  ])('a metric that %s', (_what, own, says) => expect(() => checkMetric(own)).toThrow(says))
})
