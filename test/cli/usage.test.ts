import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { example, graft, sprout, temporaryFolder, writeRun } from '../fixture.js'

describe('numbers in flags are read in one way', () => {
  test.each([
    [
      ['bench', sprout, '--threads', 'many'],
      /'--threads <n>' argument 'many' is invalid. Expected a whole number above 0/,
    ],
    [['bench', sprout, '--micro-batch', '0'], /Expected a whole number above 0/],
    [['estimate', sprout, '--supervised', '-0.5'], /Expected a share above 0, at most 1/],
    [['estimate', sprout, '--rank', '2.5'], /Expected a whole number above 0/],
    [['generate', sprout, '--prompt', 'a', '--top-p', '1.01'], /Expected a share above 0, at most 1/],
    [['generate', sprout, '--prompt', 'a', '--temperature', ''], /Expected a number, 0 or more/],
    [['combine', 'out', 'a', '--seed', 'x'], /Expected a whole number, 0 or more/],
    [['worker', '--queue', 'redis://nowhere', '--concurrency', '1e99'], /Expected a whole number above 0/],
  ])('%s', async (args, says) => {
    const { code, stderr, stdout } = await graft(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(says)
  })
  test('pairs are read as YAML, and what breaks off is said', async () => {
    const { code, stderr } = await graft(['estimate', sprout, '--option', 'rank_pattern={q_proj: 2'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/graft: Option "rank_pattern=\{q_proj: 2": .*\[BAD_OVERRIDE\]/s)
  })
  test('and in requests', async () => {
    const input = '{"prompt": "a", "temperature": "hot"}\n'
    const { code, stderr } = await graft(['generate', sprout, '-'], { input })
    expect(code).toBe(1)
    expect(stderr).toMatch(/-:1: temperature should be a number, 0 or more, got "hot"\. \[BAD_REQUEST\]/)
  })
})

describe('paths of the wrong kind', () => {
  test('a config that is a folder', async () => {
    const { code, stderr } = await graft(['train', example])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /support-intents: a folder; a config is a YAML file\. It holds compare\.yaml, config\.yaml\./,
    )
  })
  test('an output that is a file, or lies in one', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'file'), '')
    for (const output of ['file', 'file/below']) {
      const { code, stderr } = await graft(['train', writeRun(folder, { output })])
      expect(code).toBe(1)
      expect(stderr).toMatch(/output: .* should be a folder, and .* is a file\. .*\[BAD_OUTPUT\]/)
    }
  })
})

test("a classifier's adapter writes no texts", async () => {
  const folder = temporaryFolder()
  expect((await graft(['train', writeRun(folder, { training: { epochs: 1 } })])).code).toBe(0)
  const { code, stderr } = await graft([
    'generate',
    sprout,
    '--adapter',
    join(folder, 'out/adapter'),
    '--prompt',
    'a',
  ])
  expect(code).toBe(1)
  expect(stderr).toMatch(
    /sequence-classification, which writes no texts; use graft predict\. \[NOT_A_WRITER\]/,
  )
})

describe('how a run ended', () => {
  test('a loss that rose is said, and is no success', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, {
      training: { learning_rate: 30, warmup_steps: 10, schedule: 'constant' },
    })
    const { code, stdout } = await graft(['train', config])
    expect(stdout).toMatch(
      /Diverged the training loss rose from \d+\.\d+ to \d+\.\d+: lower training\.learning_rate\./,
    )
    expect(code).toBe(1)
  })
  test('a run that gains nothing on validation data says so', async () => {
    const config = writeRun(temporaryFolder(), { training: { max_steps: 2, learning_rate: 1e-30 } })
    const { stdout } = await graft(['train', config])
    expect(stdout).toMatch(/Note {5}no better on validation data than before training/)
  })
  test('early stopping is said, and which step is kept', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { training: { epochs: 40, early_stopping: 2 } })
    const { code, stdout } = await graft(['train', config])
    expect(code).toBe(0)
    const stopped = Number(
      stdout.match(/Stopped {2}early, after step (\d+): 2 evaluations without a better one/)?.[1],
    )
    expect(stopped).toBeLessThan(240)
    const line = stdout.match(/Kept {5}the parameters after step (\d+), the best on validation data/)
    const kept = Number(line?.[1] ?? stopped)
    const log = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const during = log.filter((e) => e.phase === 'during')
    const order = [...during].sort((a, b) => b.accuracy - a.accuracy || a.loss - b.loss)
    expect(order[0].step).toBe(kept)
    expect(stopped).toBe(during.at(-1).step)
  })
})
