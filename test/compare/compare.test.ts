import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { Random } from '@graft-peft/core'
import { differ, interval, type RunResult, type Summary } from '@graft-peft/compare'
import { describe, expect, it } from 'vitest'
import { graft, sproutFolder, temporaryFolder, writeComparison } from '../fixture.js'

const lora = { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] }
const read = (folder: string): Summary => JSON.parse(readFileSync(join(folder, 'out/report.json'), 'utf8'))
const resultsOf = (folder: string): RunResult[] =>
  readFileSync(join(folder, 'out/results.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
const adapters = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(join(folder, 'out/runs')).map((run) => [
      run,
      digest(join(folder, 'out/runs', run, 'out/adapter/adapter_model.safetensors')),
    ]),
  )

describe('mistakes are caught before anything runs', () => {
  it.each([
    ['an unknown method', { methods: ['lroa'] }, {}, /method: lroa is not built in.*Did you mean lora\?/s],
    [
      'an unknown option',
      { methods: [{ name: 'lora', rank: 4 }] },
      {},
      /config\.yaml:\d+:\d+: compare\.methods\.0\.rank: unknown key rank/,
    ],
    [
      'two entries of one name',
      { methods: [lora, lora] },
      {},
      /config\.yaml:\d+:\d+: compare\.methods\.1: two entries are named lora/,
    ],
    [
      'no validation data',
      { methods: [lora] },
      { data: { validation: 0 } },
      /config\.yaml:\d+:\d+: data\.validation: 0 leaves no data/,
    ],
    [
      'an unknown launcher',
      { methods: [lora], launcher: 'locl' },
      {},
      /launcher: locl is not built in.*Did you mean local\?/s,
    ],
    [
      'a method beside compare',
      { methods: [lora] },
      { objective: 'sequence-classificatoin' },
      /Did you mean sequence-classification\?/,
    ],
    [
      'two budgets',
      { methods: [lora], budget: { steps: 1, tokens: 2 } },
      {},
      /compare\.budget: must NOT have more than 1/,
    ],
    [
      'a missing general text',
      { methods: [lora], forgetting: 'no.jsonl' },
      {},
      /no\.jsonl: no such data file/,
    ],
  ])('%s', async (_, compare, settings, message) => {
    const folder = temporaryFolder()
    const { code, stderr } = await graft(['compare', writeComparison(folder, compare, settings)])
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('this should not have happened')
    expect(existsSync(join(folder, 'out/runs'))).toBe(false)
  })
})

describe('a comparison', () => {
  it('gives every method the same batches, keeps going when one fails, and reports', async () => {
    const folder = temporaryFolder()
    const nowhere = { name: 'lora', label: 'nowhere', target_modules: ['no_such_module'] }
    const config = writeComparison(folder, {
      methods: [lora, 'ia3', { name: 'prompt-tuning', num_virtual_tokens: 4 }, nowhere],
      exclude: [],
      seeds: 2,
    })
    const { code, stdout, stderr } = await graft(['compare', config])
    expect(code, stderr).toBe(1)
    expect(stdout).toMatch(/nowhere failed: .*no_such_module/)
    const summary = read(folder)
    expect(summary.rows.map((r) => r.label).sort()).toEqual([
      'base',
      'full',
      'ia3',
      'lora',
      'nowhere',
      'prompt-tuning',
    ])
    expect(summary.rows.at(-1)).toMatchObject({ label: 'nowhere', done: 0 })
    for (const seed of summary.seeds) {
      const orders = resultsOf(folder)
        .filter((r) => r.seed === seed && r.order)
        .map((r) => r.order)
      expect(orders).toHaveLength(4)
      expect(new Set(orders).size).toBe(1)
    }
    const measured = summary.rows.find((r) => r.label === 'lora')
    for (const key of [
      'trainable',
      'adapter_bytes',
      'step_s',
      'tokens_per_s',
      'peak_bytes',
      'predicted_bytes',
      'flops',
      'compile_s',
    ] as const)
      expect(measured?.[key], key).toBeGreaterThan(0)
    for (const file of ['report.html', 'report.md', 'table.csv', 'charts/loss.svg', 'charts/parameters.svg'])
      expect(existsSync(join(folder, 'out', file)), file).toBe(true)
  })

  it('runs only what is new when a method is added, and nothing at all to report', async () => {
    const folder = temporaryFolder()
    await graft(['compare', writeComparison(folder, { methods: [lora] })])
    appendFileSync(join(folder, 'out/results.jsonl'), '{"id": "cut sh')
    const { stderr, code } = await graft([
      'compare',
      writeComparison(folder, { methods: [lora, 'ia3'] }),
      '--json',
    ])
    expect(code, stderr).toBe(0)
    expect(resultsOf(folder).map((r) => r.label)).toEqual(['lora', 'ia3'])
    rmSync(join(folder, 'out/report.html'))
    rmSync(join(folder, 'out/runs'), { recursive: true })
    expect((await graft(['compare', join(folder, 'config.yaml'), '--report-only'])).code).toBe(0)
    expect(existsSync(join(folder, 'out/report.html'))).toBe(true)
    expect(existsSync(join(folder, 'out/runs'))).toBe(false)
  })

  it('is fair: two entries of one method and seed are bit-equal, whatever their order and concurrency', async () => {
    const twins = [lora, { ...lora, label: 'twin' }]
    const [one, other] = [temporaryFolder(), temporaryFolder()]
    const alone = await graft(['compare', writeComparison(one, { methods: ['ia3', ...twins] })])
    const together = await graft([
      'compare',
      writeComparison(other, {
        methods: [...twins.reverse(), 'ia3'],
        launcher: { name: 'local', parallel: 2 },
      }),
    ])
    for (const { code, stderr } of [alone, together]) expect(code, stderr).toBe(0)
    const tensors = [one, other].flatMap((folder) =>
      Object.entries(adapters(folder))
        .filter(([run]) => !run.startsWith('ia3'))
        .map(([, bytes]) => bytes),
    )
    expect(tensors).toHaveLength(4)
    expect(new Set(tensors).size).toBe(1)
    const curves = [one, other].flatMap((folder) =>
      resultsOf(folder)
        .filter((r) => r.method === 'lora')
        .map((r) => JSON.stringify([r.curve, r.after])),
    )
    expect(new Set(curves).size).toBe(1)
  })

  it('tries learning rates and keeps the best by validation; a budget of tokens or minutes ends runs', async () => {
    const folder = temporaryFolder()
    const config = writeComparison(folder, {
      methods: [lora],
      learning_rates: [1e-6, 1e-2],
      budget: { tokens: 300 },
    })
    expect((await graft(['compare', config])).code).toBe(0)
    const [row] = read(folder).rows
    expect(row.rates).toHaveLength(2)
    expect(row.learning_rate).toBe(1e-2)
    for (const { tokens = 0, steps = 0 } of resultsOf(folder)) {
      expect(tokens).toBeLessThanOrEqual(300)
      expect(tokens + (2 * tokens) / steps).toBeGreaterThan(300)
    }
    const minutes = temporaryFolder()
    expect(
      (await graft(['compare', writeComparison(minutes, { methods: [lora], budget: { minutes: 0.02 } })]))
        .code,
    ).toBe(0)
    expect(resultsOf(minutes)[0].train_s).toBeLessThan(6)
  })

  it('measures forgetting on a general text, whatever the adapter was trained for', async () => {
    const folder = temporaryFolder()
    const model = sproutFolder(join(folder, 'model'))
    writeFileSync(
      join(folder, 'general.jsonl'),
      ['The sun rose over the hills.', 'She sold seashells by the shore.']
        .map((text) => JSON.stringify({ question: text, answer: text }))
        .join('\n'),
    )
    const methods = [
      lora,
      { name: 'prefix-tuning', num_virtual_tokens: 4 },
      { name: 'adalora', tinit: 2, tfinal: 2, deltaT: 2 },
    ]
    const { code, stderr } = await graft([
      'compare',
      writeComparison(
        folder,
        { methods, exclude: [], forgetting: 'general.jsonl' },
        { model, objective: 'sequence-classification', training: { max_steps: 10 } },
      ),
    ])
    expect(code, stderr).toBe(0)
    const results = resultsOf(folder)
    expect(results).toHaveLength(5)
    const before = new Set(results.map((r) => r.forgetting?.before.toFixed(4)))
    expect(before.size).toBe(1)
    expect(results.find((r) => r.label === 'base')?.forgetting?.after).toBe(results[0].forgetting?.before)
    expect(results.find((r) => r.label === 'full')?.forgetting?.after).not.toBe(results[0].forgetting?.before)
    expect(read(folder).rows.find((r) => r.label === 'adalora')).toBeDefined()
    expect(results.find((r) => r.label === 'adalora')?.ranks?.length).toBeGreaterThan(1)
  })
})

describe('an interrupted comparison', () => {
  it('killed ten times at random moments, ends as an uninterrupted one does', async () => {
    const methods = [lora, 'ia3']
    const [calm, rough] = [temporaryFolder(), temporaryFolder()]
    const settings = { training: { epochs: 12 } }
    const compare = { methods, seeds: 2 }
    const started = performance.now()
    expect((await graft(['compare', writeComparison(calm, compare, settings)])).code).toBe(0)
    const whole = performance.now() - started
    const config = writeComparison(rough, compare, settings)
    const random = new Random(Date.now() % 1000, 'kills')
    for (let k = 0; k < 10; k++)
      await graft(['compare', config], {
        onStart: (child) => setTimeout(() => child.kill('SIGKILL'), random.uniform(0.05, 0.5) * whole),
      })
    const { code, stderr } = await graft(['compare', config])
    expect(code, stderr).toBe(0)
    expect(adapters(rough)).toEqual(adapters(calm))
    expect(lasting(read(rough))).toEqual(lasting(read(calm)))
  })
})

/** What doesn't depend on the clock or the memory of the moment. */
function lasting(summary: Summary): unknown {
  const passing = new Set(['compile_s', 'step_s', 'train_s', 'tokens_per_s', 'peak_bytes', 'picks'])
  return JSON.parse(
    JSON.stringify(
      { ...summary, runs: [...summary.runs].sort((a, b) => (a.id < b.id ? -1 : 1)) },
      (key, v) => (passing.has(key) ? undefined : v),
    ),
  )
}

describe('statistics', () => {
  it('gives the t interval of a mean', () => {
    const { mean, half } = interval([1, 2, 3])
    expect(mean).toBe(2)
    expect(half).toBeCloseTo(4.303 / Math.sqrt(3), 3)
    expect(interval([5]).half).toBeNull()
  })
  it('tells apart what differs the same way on every seed, and only that', () => {
    const of = (...values: number[]) => new Map(values.map((v, i) => [i, v]))
    expect(differ(of(0.8, 0.7, 0.9), of(0.78, 0.68, 0.881))).toBe(true)
    expect(differ(of(0.8, 0.7, 0.9), of(0.7, 0.8, 0.9))).toBe(false)
    expect(differ(of(1), of(2))).toBeUndefined()
    expect(differ(of(0.5, 0.25), of(0.25, 0))).toBe(false)
    expect(differ(of(0.5, 0.25, 0.75), of(0.25, 0, 0.5))).toBe(true)
  })
})
const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')
