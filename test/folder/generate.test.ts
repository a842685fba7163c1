import { join } from 'node:path'
import {
  type Generated,
  type GenerationOptions,
  Generator,
  openAdapter,
  openModel,
} from '@graft-peft/core/app'
import { greedy, Sampler } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { graft, sprout, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const registry = defaultRegistry()
const architectures = registry.all('architecture')
let base: string
beforeAll(() => {
  base = sproutFolder(join(temporaryFolder(), 'base'))
})
const writers: Generator[] = []
afterAll(() => Promise.all(writers.map((w) => w.close())))
const writer = (path: string, cache: boolean): Generator => {
  const made = new Generator(openModel(path, { architectures, task: 'causal-lm', cache }))
  writers.push(made)
  return made
}
async function write(
  w: Generator,
  prompt: string,
  options: GenerationOptions = {},
): Promise<Generated & { pieces: string[] }> {
  const pieces: string[] = []
  const writing = w.stream(prompt, { maxTokens: 24, ...options })
  for (;;) {
    const { value, done } = await writing.next()
    if (done) return { ...value, pieces }
    pieces.push(value)
  }
}
const prompt = 'Mary has 3 apples and buys 4 more.'

/** Trains a little by a method and returns the adapter's folder. */
async function adapter(method: Record<string, unknown>, answer: string, seed = 0): Promise<string> {
  const at = temporaryFolder()
  const lines = Array.from({ length: 16 }, (_, i) =>
    JSON.stringify({ prompt: `Mary has ${i} apples.`, completion: ` ${answer}` }),
  )
  const config = writeRun(
    at,
    {
      model: base,
      method,
      seed,
      data: { validation: 0 },
      training: { max_steps: 12, batch_size: 8, learning_rate: 2e-2 },
    },
    lines,
  )
  const { code, stderr } = await graft(['train', config])
  expect(code, stderr).toBe(0)
  return join(at, 'out/adapter')
}

describe('writing', () => {
  it('with a cache is writing without one', async () => {
    const [cached, whole, exported] = [
      await write(writer(base, true), prompt),
      await write(writer(base, false), prompt),
      await write(writer(sprout, true), prompt),
    ]
    expect(cached.text.length).toBeGreaterThan(10)
    expect(cached.text).toBe(whole.text)
    expect(exported.text).toBe(whole.text)
  })
  it('gives out pieces that make the whole', async () => {
    const { pieces, text, tokens } = await write(writer(base, true), prompt)
    expect(pieces.join('')).toBe(text)
    expect(tokens).toBe(24)
  })
  it('stops before a stop text, in the middle of a stream', async () => {
    const w = writer(base, true)
    const { text } = await write(w, prompt)
    const stop = text.slice(12, 16)
    const cut = await write(w, prompt, { stop: [stop] })
    expect(cut.ended).toBe('stop')
    expect(cut.text).toBe(text.slice(0, text.indexOf(stop)))
    expect(cut.pieces.join('')).toBe(cut.text)
  })
  it('drawn tokens are a function of the seed', async () => {
    const w = writer(base, true)
    const drawn = (seed: number) => write(w, prompt, { temperature: 1, topP: 0.9, topK: 50, seed })
    const [one, again, other] = [await drawn(1), await drawn(1), await drawn(2)]
    expect(again.text).toBe(one.text)
    expect(other.text).not.toBe(one.text)
  })
  it('can be stopped', async () => {
    const controller = new AbortController()
    controller.abort()
    expect((await write(writer(base, true), prompt, { signal: controller.signal })).ended).toBe('aborted')
  })
})

describe('adapters', () => {
  for (const [name, method] of Object.entries({
    lora: { name: 'lora', r: 4, target_modules: 'all-linear' },
    vera: { name: 'vera', r: 16 },
    'prompt-tuning': { name: 'prompt-tuning', num_virtual_tokens: 4 },
    'prefix-tuning': { name: 'prefix-tuning', num_virtual_tokens: 4 },
  }))
    it(`${name}: with a cache as without`, async () => {
      const folder = await adapter(method, 'She gives them away.')
      const texts: string[] = []
      for (const cache of [true, false]) {
        const w = writer(base, cache)
        await w.load('a', await openAdapter(folder, registry, base))
        texts.push((await write(w, prompt, { adapter: 'a' })).text)
      }
      expect(texts[0]).toBe(texts[1])
    })
  it('several at once, switched per request, beside the bare model', async () => {
    const w = writer(base, true)
    await w.load(
      'gives',
      await openAdapter(
        await adapter({ name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] }, 'She gives them away.'),
        registry,
        base,
      ),
    )
    await w.load(
      'eats',
      await openAdapter(
        await adapter({ name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] }, 'She eats them all.', 1),
        registry,
        base,
      ),
    )
    await w.load(
      'prompt',
      await openAdapter(
        await adapter({ name: 'prompt-tuning', num_virtual_tokens: 4 }, 'She sells them.'),
        registry,
        base,
      ),
    )
    const all = async () =>
      Promise.all(
        [null, 'gives', 'eats', 'prompt'].map((a) => write(w, prompt, { adapter: a }).then((r) => r.text)),
      )
    const one: string[] = []
    for (const a of [null, 'gives', 'eats', 'prompt']) one.push((await write(w, prompt, { adapter: a })).text)
    expect(new Set(one).size).toBe(4)
    expect(one[1]).toMatch(/gives/)
    expect(one[2]).toMatch(/eats/)
    expect(await all()).toEqual(one)
    await expect(write(w, prompt, { adapter: 'givs' })).rejects.toThrow(
      /No adapter named givs is loaded. Did you mean gives/,
    )
  })
  it('from the command line: requests in, answers out', async () => {
    const folder = await adapter(
      { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] },
      'She gives them away.',
    )
    const input = [
      { prompt, adapter: 'a', max_tokens: 4 },
      { prompt, adapter: null, max_tokens: 3 },
    ]
      .map((r) => JSON.stringify(r))
      .join('\n')
    const { stdout, code, stderr } = await graft(['generate', base, '--adapter', `a=${folder}`, '-'], {
      input,
    })
    expect(code, stderr).toBe(0)
    const [one, two] = stdout
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l))
    expect(one.tokens).toBe(4)
    expect(two.tokens).toBe(3)
    expect((await graft(['generate', base])).stderr).toMatch(/Give either --prompt/)
  })
  it('chat without a template says so', async () => {
    expect((await graft(['chat', base], { input: 'hello\n' })).stderr).toMatch(/has no chat template/)
  })
})

it('the sampler keeps to its options', () => {
  const logits = Float32Array.from([1, 3, 2, -1])
  expect(new Sampler(greedy).next(logits)).toBe(1)
  const draws = (options: object) => {
    const s = new Sampler({ ...greedy, temperature: 1, ...options })
    return new Set(Array.from({ length: 200 }, () => s.next(logits)))
  }
  expect(draws({ topK: 2 })).toEqual(new Set([1, 2]))
  expect(draws({ topP: 0.5 })).toEqual(new Set([1]))
  expect(draws({}).size).toBe(4)
  expect(() => new Sampler({ ...greedy, topP: 0 })).toThrow(/top-p should be above 0/)
})
