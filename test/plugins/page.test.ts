import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { storedFloats } from '@graft-peft/core'
import { readSafetensors, writeSafetensors } from '@graft-peft/core/inside'
import {
  checkObjective,
  testMetric,
  testOptimizer,
  testReader,
  testSchedule,
} from '@graft-peft/method-tester'
import { describe, expect, it } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'
import { snippetsOf } from '../house/snippets.js'

const blocks = snippetsOf('docs/write-a-plugin.md').filter((s) => s.language === 'js')
/** Writes each plugin of the page as a file of the name that its first line gives. */
function writePlugins(folder: string): string {
  mkdirSync(folder)
  for (const { text } of blocks)
    writeFileSync(join(folder, text.match(/^\/\/ (\S+\.mjs)/)?.[1] as string), text)
  return folder
}
const here = temporaryFolder()
symlinkSync(join(root, 'node_modules'), join(here, 'node_modules'))
const folder = writePlugins(join(here, 'plugins'))
const plugin = async (name: string) => (await import(pathToFileURL(join(folder, name)).href)).default

describe('what docs/write-a-plugin.md has passes its own tests', async () => {
  const [focal, weighted, balanced, lion, wsd, qa] = await Promise.all(
    ['focal', 'weighted', 'balanced', 'lion', 'wsd', 'qa'].map((n) => plugin(`${n}.mjs`)),
  )
  const runner = { describe, it }
  const texts = ['good day', 'a bad idea', 'neither of these']
  it('focal, weighted', async () => {
    const labelled = texts.map((text, i) => ({ text, label: 'abc'[i] }))
    expect(await checkObjective(focal, { records: labelled, model: 'encoder' })).toEqual([])
    const records = texts.map((text, i) => ({ text, weight: i + 0.5 }))
    expect(await checkObjective(weighted, { records, answers: ['weight'] })).toEqual([])
  })
  testMetric(runner, balanced)
  testSchedule(runner, wsd, [{ decay: 0.2 }, { decay: 1 }])
  testOptimizer(runner, lion, [
    {
      options: { interpolation: 0.9 },
      numbers: { weight_decay: 0.1, betas: [0.9, 0.99] },
      reference({ rate, parameters, gradient, state }) {
        const m = parameters.map((_, i) => state.m?.[i] ?? 0)
        state.m = m.map((v, i) => 0.99 * v + 0.01 * gradient[i])
        return parameters.map((p, i) => p - rate * (Math.sign(0.9 * m[i] + 0.1 * gradient[i]) + 0.1 * p))
      },
    },
  ])
  testReader(runner, qa, [
    {
      name: 'a.qa',
      content: 'Q: who?\nA: me\n\nQ: when?\nA: now\n',
      records: [
        { prompt: 'who?', completion: 'me' },
        { prompt: 'when?', completion: 'now' },
      ],
    },
    { name: 'b.qa', content: 'Q: who?\nX: me\n', error: /b\.qa:2: expected "Q: …"/ },
  ])
})

describe('an adapter that plugins trained', () => {
  const place = temporaryFolder()
  writePlugins(join(place, 'plugins'))
  const named = (...names: string[]) => names.map((n) => `./plugins/${n}.mjs`)
  const lines = Array.from({ length: 12 }, (_, i) => `Q: question ${i}\nA: answer ${i % 3}`).join('\n')

  it('classifies and merges without its objective, and says so', async () => {
    const config = writeRun(place, {
      plugins: named('focal', 'balanced'),
      objective: 'focal',
      metric: 'balanced-accuracy',
      training: { max_steps: 4 },
    })
    const trained = await graft(['train', config])
    expect(trained.code, trained.stderr).toBe(0)
    expect(trained.stdout).toMatch(/balanced-accuracy/)
    const [adapter, data] = [join(place, 'out/adapter'), join(place, 'train.jsonl')]
    const own = await graft(['predict', adapter, data, '--plugins', join(place, 'plugins/focal.mjs')])
    const bare = await graft(['predict', adapter, data])
    expect(bare.code, bare.stderr).toBe(0)
    expect(bare.stdout).toBe(own.stdout)
    expect(own.stderr).not.toMatch(/focal/)
    expect(bare.stderr).toMatch(
      /trained with the objective focal.*used as sequence-classification.*only training on/s,
    )
    const merged = await graft(['merge', adapter, join(place, 'merged')])
    expect(merged.code, merged.stderr).toBe(0)
    const more = readFileSync(writeRun(place, { adapter: 'out/adapter', output: 'more' }), 'utf8')
    writeFileSync(join(place, 'more.yaml'), more.replace(/^method:\n( .*\n)+/m, ''))
    const again = await graft(['train', join(place, 'more.yaml')])
    expect(again.stderr).toMatch(/objective: focal is not built in.*plugins: \[name-of-the-package\]/s)
    const file = join(adapter, 'adapter_model.safetensors')
    const { tensors, metadata } = readSafetensors(file)
    const own_head = 'base_model.model.own_head.weight'
    writeSafetensors(file, {
      tensors: new Map([...tensors, [own_head, storedFloats(new Float32Array(2), [2])]]),
      metadata,
    })
    const headless = await graft(['predict', adapter, data])
    expect(headless.stderr).toMatch(
      /focal, which no package here brings and which has tensors of its own.*own_head/s,
    )
  })

  it('writes and merges without optimiser, schedule, reader and objective', async () => {
    const model = sproutFolder(join(place, 'model'))
    writeFileSync(join(place, 'talks.qa'), `${lines}\n`)
    const config = writeRun(place, {
      model,
      plugins: named('lion', 'wsd', 'qa', 'weighted'),
      objective: 'weighted',
      data: { train: 'talks.qa' },
      training: {
        max_steps: 6,
        optimizer: { name: 'lion', interpolation: 0.95 },
        schedule: { name: 'wsd', decay: 0.5 },
        learning_rate: 1e-3,
      },
      output: 'written',
    })
    const trained = await graft(['train', config])
    expect(trained.code, trained.stderr).toBe(0)
    const log = readFileSync(join(place, 'written/log.jsonl'), 'utf8')
    const logged = [...log.matchAll(/"learning_rate":([\d.e-]+)/g)].map(([, r]) => Number(r))
    expect(logged.map((r) => +(r / 1e-3).toFixed(3))).toEqual([1, 1, 1, 1, 0.667, 0.333])
    const adapter = join(place, 'written/adapter')
    const generated = await graft([
      'generate',
      model,
      '--adapter',
      adapter,
      '--prompt',
      'question',
      '--max-tokens',
      '3',
    ])
    expect(generated.code, generated.stderr).toBe(0)
    expect(generated.stderr).toMatch(/trained with the objective weighted.*used as causal-lm/s)
    const merged = await graft(['merge', adapter, join(place, 'both')])
    expect(merged.code, merged.stderr).toBe(0)
  })

  it('is compared under a plugin’s optimiser, and options that it does not have are refused', async () => {
    const refused = await graft([
      'train',
      writeRun(place, {
        plugins: named('lion'),
        training: { optimizer: { name: 'lion', beta: 1 } },
        output: 'no',
      }),
    ])
    expect(refused.stderr).toMatch(/config\.yaml:\d+.*unknown key beta.*Known: interpolation/s)
    const unknown = await graft(['train', writeRun(place, { training: { schedule: 'cosin' }, output: 'no' })])
    expect(unknown.stderr).toMatch(/schedule: cosin is not built in.*Did you mean cosine\?/s)
  })
})

it('verify loads a plugin once, however often it is named', async () => {
  const file = join(folder, 'wsd.mjs')
  const { stderr } = await graft(['verify', temporaryFolder(), '--plugins', `${file},${file}`])
  expect(stderr).not.toMatch(/DUPLICATE_PLUGIN|PLUGIN_FAILED/)
  const missing = await graft(['verify', temporaryFolder(), '--plugins', './nowhere.mjs'])
  expect(missing.stderr).toMatch(/PLUGIN_NOT_FOUND/)
})
