import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Screen } from '../../packages/cli/src/screen.js'
import { tableLines } from '../../packages/cli/src/output.js'
import { found, temporaryFolder, writeComparison, writeRun } from '../fixture.js'
import { Eyes } from './terminal.js'

const script = found('script', 'what a terminal shows')

describe('a frame and the lines above it', () => {
  const shown = async (columns: number, act: (screen: Screen) => void): Promise<string[]> => {
    const eyes = new Eyes(columns)
    let text = ''
    // A terminal begins a new line at its left edge.
    const write = (piece: string) => (text += piece.replaceAll('\n', '\r\n'))
    act(new Screen({ isTTY: true, columns, write }))
    await eyes.write(text)
    return eyes.lines
  }

  test.each([80, 120])('lines stay whole in %i columns, whatever the frame does', async (columns) => {
    const long = `validation ${'x'.repeat(columns + 10)}`
    const lines = await shown(columns, (screen) => {
      screen.draw(['one', 'two'], true)
      screen.above('first line\n')
      screen.draw(['one, longer', 'two', 'three'], true)
      screen.above(`${long}\n`)
      screen.draw(['one, longer', 'changed', 'three'], true)
      screen.draw(['three'], true)
      screen.above('last line\n')
      screen.draw(['z'.repeat(300)], true)
    })
    const [first, ...rest] = lines
    expect(first).toBe('first line')
    expect(rest.slice(0, 2).join('')).toBe(long)
    expect(rest.slice(2, 3)).toEqual(['last line'])
    expect(rest.slice(3)).toEqual([`${'z'.repeat(columns - 2)}…`])
  })
  test('the frame is gone at the end, and the last lines stand', async () => {
    const lines = await shown(80, (screen) => {
      screen.draw(['a', 'b', 'c'], true)
      screen.above('kept\n')
      screen.close()
      screen.above('after\n')
    })
    expect(lines).toEqual(['kept', 'after'])
  })
})

describe('tables', () => {
  const head = ['method', 'accuracy', 'loss', 'seconds']
  const rows = [
    ['lora', '78.1 %', '0.51', '12'],
    ['prompt-tuning', '56.0 %', '1.20', '9'],
  ]
  test('columns that do not fit stand below, each after the first', () => {
    expect(tableLines(head, rows, ['left', 'right', 'right', 'right'], 32)).toEqual([
      'method         accuracy  loss',
      'lora             78.1 %  0.51',
      'prompt-tuning    56.0 %  1.20',
      '',
      'method         seconds',
      'lora                12',
      'prompt-tuning        9',
    ])
  })
  test('a column wider than the terminal has its text broken', () => {
    const lines = tableLines(['name', 'what'], [['lora', 'low-rank updates of linear layers']], [], 24)
    expect(lines).toEqual(['name  what', 'lora  low-rank updates', '      of linear layers'])
  })
})

describe.runIf(script)('in a terminal', () => {
  test.each([80, 120])('a run of %i columns shows the time left, and overwrites no line', async (columns) => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { training: { epochs: 6, eval_every: 8 } })
    const eyes = new Eyes(columns)
    const bars = new Set<string>()
    const code = await eyes.watch(['train', config], (lines) => {
      const last = lines.at(-1) ?? ''
      if (last.includes('░') || last.includes('█')) bars.add(last)
    })
    expect(code).toBe(0)
    const steps = [...bars].filter((bar) => /step \d+\/36/.test(bar))
    expect(
      steps.some((bar) => /· 0:0\d left · loss \d\.\d{4} · [\d,]+ tokens\/s/.test(bar)),
      [...bars].join('\n'),
    ).toBe(true)
    const evaluations = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line.includes('"phase":"during"'))
    const whole = eyes.lines.filter((line) =>
      /^step \d+ · validation: .*loss \d+\.\d{4}( · best so far)?$/.test(line),
    )
    expect(whole.length).toBe(evaluations.length)
    expect(eyes.lines.filter((line) => /[█░]/.test(line))).toEqual([])
    expect(eyes.lines.at(-1)).toMatch(/^Adapter {2}/)
  })

  const interrupted = async (times: number): Promise<string[]> => {
    const config = writeRun(temporaryFolder(), { training: { epochs: 500 } })
    const eyes = new Eyes(80)
    let typed = 0
    const code = await eyes.watch(['train', config, 'seed=3'], (lines, type) => {
      const awaited = [/step \d+\/3000 · .* left/, /^Stopping/][typed]
      if (typed === times || !lines.some((line) => awaited.test(line))) return
      typed++
      type('\x03')
    })
    expect(code).toBe(130)
    expect(eyes.lines.filter((line) => /[█░]/.test(line))).toEqual([])
    return eyes.lines
  }
  test('Ctrl-C says what happens, and how to go on', async () => {
    const lines = await interrupted(1)
    expect(lines.join('')).toMatch(/Stopping after this step; press Ctrl-C again to stop at once\./)
    expect(lines.join('')).toMatch(/Continue with: graft train .* seed=3 --resume$/)
  })
  test('Ctrl-C twice ends the process at once, while a step is computed', async () => {
    const lines = await interrupted(2)
    expect(lines.join('')).not.toMatch(/Continue with|Abort|terminate/)
  })

  test.each([80, 120])('a comparison fits %i columns', async (columns) => {
    const path = writeComparison(temporaryFolder(), {
      methods: ['lora', { name: 'ia3', label: 'scales of keys, values and the feed-forward' }],
      exclude: ['full'],
    })
    const eyes = new Eyes(columns, 40)
    const frames: string[] = []
    const code = await eyes.watch(['compare', path], (lines) => frames.push(lines.slice(-2).join('\n')))
    expect(code).toBe(0)
    expect(
      frames.some((frame) => /left · loss \d/.test(frame)),
      frames.slice(-30).join('\n'),
    ).toBe(true)
    expect(eyes.wrapped).toEqual([])
    expect(eyes.lines.some((line) => /^For /.test(line))).toBe(true)
  })
})
