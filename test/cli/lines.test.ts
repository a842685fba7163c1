import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Classifier, Generator, openAdapter } from '@graft-peft/core/app'
import { beforeAll, describe, expect, test } from 'vitest'
import { graft, root, sprout, temporaryFolder, writeRun } from '../fixture.js'
import { registry } from '../tiny.js'

const folder = temporaryFolder()
const adapter = join(folder, 'out/adapter')
beforeAll(async () => {
  const { code, stderr } = await graft(['train', writeRun(folder, { training: { epochs: 1 } })])
  expect(code, stderr).toBe(0)
})

/** A command that was asked one thing and has answered, its input still open. */
async function answered(args: readonly string[], request: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...args])
  child.stdin.write(`${request}\n`)
  const line = await once(createInterface(child.stdout), 'line')
  expect(JSON.parse(line[0])).toMatchObject(JSON.parse(request))
  return child
}
const commands: Record<string, [string[], string]> = {
  predict: [['predict', adapter, '-'], '{"text": "where is my parcel"}'],
  generate: [['generate', sprout, '-'], '{"prompt": "where is", "max_tokens": 2}'],
}

describe.each(Object.entries(commands))('%s - waits for the next line', (_, [args, request]) => {
  test('until Ctrl-C, which ends it at once and without a word', async () => {
    const child = await answered(args, request)
    let stderr = ''
    child.stderr?.on('data', (d) => (stderr += d))
    child.kill('SIGINT')
    expect(await once(child, 'close')).toEqual([130, null])
    expect(stderr).toBe('')
  })
  test('until its reader leaves', async () => {
    const child = await answered(args, request)
    child.stdout?.destroy()
    child.stdin?.write(`${request}\n`)
    expect(await once(child, 'exit')).toEqual([0, null])
  })
})

test('Ctrl-C leaves no part of --output', async () => {
  const at = temporaryFolder()
  const words = ['predict', adapter, '-', '--output', join(at, 'answers.jsonl')]
  const child = spawn(process.execPath, [join(root, 'packages/cli/bin/graft.js'), ...words])
  const said = once(child.stderr, 'data')
  while (readdirSync(at).length === 0) await new Promise((r) => setTimeout(r, 50))
  child.kill('SIGINT')
  expect(await once(child, 'close')).toEqual([130, null])
  expect(String(await said)).toMatch(/Stopped; .*answers\.jsonl is not written/)
  expect(readdirSync(at)).toEqual([])
})

describe('opened once', () => {
  test('a classifier answers one, several, and several at a time as graft predict does', async () => {
    const texts = ['where is my parcel', 'do you open today, please', 'card declined', 'return']
    const input = texts.map((text) => JSON.stringify({ text })).join('\n')
    const lines = (await graft(['predict', adapter, '-'], { input })).stdout.trim().split('\n')
    const wanted = lines.map((line) => JSON.parse(line)).map(({ text: _, ...rest }) => rest)
    const classifier = await Classifier.open(await openAdapter(adapter, registry))
    expect(classifier.labels).toEqual(['delivery', 'hours', 'payment', 'return'])
    const records = texts.map((text) => ({ text }))
    expect(await Promise.all(records.map((record) => classifier.predict(record)))).toEqual(wanted)
    for (const [i, { prediction }] of (
      (await classifier.predict(records)) as { prediction: string }[]
    ).entries())
      expect(prediction).toBe(wanted[i].prediction)
    await expect(classifier.predict({ txt: 'a' })).rejects.toThrow(
      /request: expected a text in field text, got none/,
    )
    await expect(classifier.predict([{ text: 'a' }, { text: 7.5, text_pair: [] }])).rejects.toThrow(
      /request 2: /,
    )
    await classifier.close()
  })
  test('requests take milliseconds', async () => {
    const classifier = await Classifier.open(await openAdapter(adapter, registry))
    const times: number[] = []
    for (let i = 0; i < 20; i++) {
      const started = performance.now()
      await classifier.predict({ text: `where is parcel ${i}` })
      times.push(performance.now() - started)
    }
    await classifier.close()
    // A busy machine stretches some; opening takes hundreds.
    expect(times.sort((a, b) => a - b)[5]).toBeLessThan(60)
  })
  test('a generator continues texts and token ids, whole and streamed', async () => {
    const generator = await Generator.open(sprout, registry)
    const whole = await generator.generate('where is my', { maxTokens: 6 })
    const pieces: string[] = []
    for await (const piece of generator.stream(generator.tokenizer.encode('where is my'), { maxTokens: 6 }))
      pieces.push(piece)
    expect(pieces.join('')).toBe(whole.text)
    await expect(generator.generate([{ role: 'user', content: 'a' }])).rejects.toThrow(/no chat template/)
    await generator.close()
  })
  test("a classifier's adapter is no generator", async () => {
    await expect(Generator.open(adapter, registry)).rejects.toThrow(/writes no texts; use graft predict/)
  })
})

test('a command line of 90 kB is as good as a short one', async () => {
  const { code, stdout, stderr } = await graft([
    ...['generate', sprout, '--prompt', 'where is', '--max-tokens', '2', '--stop', 'never said'.repeat(9000)],
  ])
  expect(code, stderr).toBe(0)
  expect(stdout.trim()).not.toBe('')
})
