import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError, type PeftMethod } from '@graft-peft/core'
import { Generator } from '@graft-peft/core/app'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'
import { copyFamily, type Family, openFamily } from './family.js'
import { countsPads, isAnswerer, optionsOf, refused } from './options.js'
import { classified, keep, merged, shareThread, Trained, written } from './way.js'

/**
 * Every method on every family of architectures, by the way a user takes: trained, saved, opened, asked, merged, opened again. All
 * of them with EVERY=1; else each method on four families. KEEP=DIR keeps what was written, for judge.py.
 */
const { EVERY, KEEP } = process.env
const families = [
  ...['llama-0', 'gpt2-0', 'gpt_neox-0', 'gptj-0', 'bloom-0', 'opt-0', 'gemma2-0', 'gemma3_text-0', 'phi3-0'],
  ...['qwen3-2000', 'mixtral-0', 'olmoe-0', 'falcon-1000', 'mpt-0'],
  ...[
    'bert-0',
    'modernbert-0',
    'deberta-v2-0',
    'distilbert-0',
    't5-0',
    'bart-0',
    'vit-0',
    'clip-0',
    'dinov2-0',
  ],
].filter((name) => !process.env.FAMILIES || process.env.FAMILIES.split(' ').includes(name))
const methods = Object.keys(optionsOf)
const isTried = (i: number, k: number) => Boolean(EVERY) || (i + k) % 6 === 0

beforeAll(shareThread)

it('every method has options here', () =>
  expect(methods.toSorted()).toEqual(registry.all('method').map((m) => m.name).sort())) // biome-ignore format: one line

describe.each(families.map((name, k) => [name, k] as const))('%s', (name, k) => {
  let family: Family
  let generator: Generator | undefined
  const folder = () => (KEEP ? join(KEEP, name) : temporaryFolder())
  beforeAll(async () => {
    family = openFamily(name)
    if (KEEP) copyFamily(family, join(KEEP, name, 'base'))
    if (family.labels.length === 0) generator = await Generator.open(family.folder, registry)
    for (const r of [2, 3]) {
      const lora = await Trained.of(family, 'lora', { r, target_modules: family.targets })
      family.experts[r] = await lora.save(join(temporaryFolder(), 'expert'))
    }
  })
  afterAll(() => generator?.close())

  it.each(methods.filter((_, i) => isTried(i, k)))('%s', async (method) => {
    const attached = Trained.of(family, method, optionsOf[method](family))
    const code = refused.find(([names, kinds]) => names.includes(method) && kinds.includes(family.kind))?.[2]
    if (code) return expect(await said(attached)).toBe(code)
    const trained = await attached
    const at = join(folder(), method)
    const adapter = await trained.save(at)
    if (KEEP) await keep(trained, adapter)
    const isAsked = !(isAnswerer(family) && method === countsPads)
    const ask = () => (generator ? written(trained, adapter, generator) : classified(trained, adapter))
    if (isAsked) expect(await ask()).toBeLessThan(2e-5)
    const output = join(at, 'merged')
    if (isMergeable(method, trained)) expect(await merged(trained, adapter, output)).toBeLessThan(2e-5)
    else {
      expect(await said(merged(trained, adapter, output))).toBe('NOT_MERGEABLE')
      expect(existsSync(output)).toBe(false)
    }
  })
})

/** BEFT adds biases, which a checkpoint holds where layers have some. */
function isMergeable(name: string, { family }: Trained): boolean {
  const method = registry.get('method', name) as PeftMethod
  return method.mergeable && (name !== 'beft' || family.hasBiases)
}

/** The code of what is refused; anything else that is thrown goes on. */
const said = (done: Promise<unknown>): Promise<unknown> =>
  done.then(
    () => 'nothing was refused',
    (error: unknown) => {
      if (error instanceof GraftError) return error.code
      throw error
    },
  )
