import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readSafetensors } from '@graft-peft/core/inside'
import { expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'

const settings = {
  method: { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'], lora_dropout: 0.1 },
  training: { epochs: 8, save_every: 2, gradient_accumulation: 2 },
}

/** Every file of a run is whole: what is JSON parses, what is safetensors reads, and no temporary name is left once it finished. */
function checkFiles(folder: string, finished: boolean): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    if (entry.name.endsWith('.partial')) expect(finished, `${path} left behind`).toBe(false)
    else if (path.endsWith('.safetensors')) readSafetensors(path)
    else
      for (const text of path.endsWith('.jsonl')
        ? readFileSync(path, 'utf8').trim().split('\n')
        : [readFileSync(path, 'utf8')])
        if (text !== '') JSON.parse(text)
  }
}
const withoutTimes = (log: string): object[] =>
  readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => ({ ...JSON.parse(line), seconds: 0, memory_mb: 0 }))

it('killed at twenty random moments, training resumes to the bit-equal result and no file is half-written', async () => {
  const whole = temporaryFolder()
  const started = performance.now()
  expect((await graft(['train', writeRun(whole, settings)])).code).toBe(0)
  const duration = performance.now() - started
  const expected = readFileSync(join(whole, 'out/adapter/adapter_model.safetensors'))

  let kills = 0
  for (let round = 0; kills < 20; round++) {
    const folder = temporaryFolder()
    const config = writeRun(folder, settings)
    for (let attempt = 0; ; attempt++) {
      const resume = existsSync(join(folder, 'out/checkpoints/last.safetensors'))
        ? ['--resume']
        : ['--overwrite']
      // Most of a run's time is start-up; the moments are spread from the first step to past the end.
      const delay = duration * (0.35 + 0.65 * Math.random())
      const { code, signal, stderr } = await graft(
        ['train', config, ...resume],
        attempt < 5 ? { onStart: (child) => setTimeout(() => child.kill('SIGKILL'), delay) } : {},
      )
      checkFiles(join(folder, 'out'), code === 0)
      if (code === 0) break
      expect(signal, stderr).toBe('SIGKILL')
      kills++
    }
    expect(
      readFileSync(join(folder, 'out/adapter/adapter_model.safetensors')).equals(expected),
      `round ${round}`,
    ).toBe(true)
    expect(withoutTimes(join(folder, 'out/log.jsonl'))).toEqual(withoutTimes(join(whole, 'out/log.jsonl')))
  }
  expect(kills).toBeGreaterThanOrEqual(20)
})

it('Ctrl-C stops after the step in hand, says how to go on, and the run continues bit-equal', async () => {
  const [whole, stopped] = [temporaryFolder(), temporaryFolder()]
  await graft(['train', writeRun(whole, settings)])
  const config = writeRun(stopped, settings)
  let sent = false
  const { code } = await graft(['train', config, '--json'], {
    onOutput(text, child) {
      if (sent || !text.includes('"event":"step"')) return
      sent = child.kill('SIGINT')
    },
  })
  expect(code).toBe(130)
  expect(existsSync(join(stopped, 'out/adapter'))).toBe(false)
  expect((await graft(['train', config, '--resume'])).code).toBe(0)
  const adapter = (folder: string) => readFileSync(join(folder, 'out/adapter/adapter_model.safetensors'))
  expect(adapter(stopped).equals(adapter(whole))).toBe(true)
})
