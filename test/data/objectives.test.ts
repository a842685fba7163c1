import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { Coder, type DataRecord, tokenClassification } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { defaultRegistry } from 'graft-peft'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const registry = defaultRegistry()
let folder: string
let base: string
beforeAll(() => {
  folder = temporaryFolder()
  base = sproutFolder(join(folder, 'base'))
})

const coder = (template?: string, options = {}): Coder => {
  if (template !== undefined) writeFileSync(join(base, 'chat_template.jinja'), template)
  const model = openModel(base, { architectures: registry.all('architecture') })
  return new Coder(model, [], { columns: {}, max_length: 256, train_on_prompt: false, ...options })
}
const record = (value: Record<string, unknown>): DataRecord => ({ fields: value, where: 'test:1' })

describe('objectives', () => {
  const trains = async (settings: Record<string, unknown>, lines: unknown[]) => {
    const at = temporaryFolder()
    const config = writeRun(
      at,
      {
        model: base,
        data: { validation: 0.25 },
        training: { epochs: 3, batch_size: 4, learning_rate: 1e-2 },
        ...settings,
      },
      lines.map((l) => JSON.stringify(l)),
    )
    const { stdout, code, stderr } = await graft(['train', config])
    expect(code, stderr).toBe(0)
    return { at, adapter: join(at, 'out/adapter'), stdout }
  }
  const predicts = async (adapter: string, input: object) =>
    JSON.parse((await graft(['predict', adapter, '-'], { input: `${JSON.stringify(input)}\n` })).stdout)

  it('regression: a number per text', async () => {
    const lines = Array.from({ length: 32 }, (_, i) => ({
      text: i % 2 ? 'good good' : 'bad bad',
      label: i % 2 ? 1 : -1,
    }))
    const { adapter, stdout } = await trains({ objective: 'regression' }, lines)
    expect(stdout).toMatch(/mean-squared-error/)
    expect((await predicts(adapter, { text: 'good good' })).prediction).toBeGreaterThan(
      (await predicts(adapter, { text: 'bad bad' })).prediction,
    )
  })
  it('token classification: a label per word, F1 over entities', async () => {
    const lines = Array.from({ length: 32 }, (_, i) => ({
      tokens: ['My', 'card', `${i}`, 'is', 'in', 'London'],
      labels: ['O', 'B-THING', 'O', 'O', 'O', 'B-PLACE'],
    }))
    const { adapter, stdout } = await trains({}, lines)
    expect(stdout).toMatch(/entity-f1/)
    expect((await predicts(adapter, { tokens: ['My', 'card', '7'] })).prediction).toHaveLength(3)
  })
  it('pairs of texts', async () => {
    const lines = Array.from({ length: 24 }, (_, i) => ({
      text: 'where is it',
      text_pair: i % 2 ? 'on its way' : 'we are closed',
      label: i % 2 ? 'yes' : 'no',
    }))
    const { adapter } = await trains({}, lines)
    expect(['yes', 'no']).toContain(
      (await predicts(adapter, { text: 'where is it', text_pair: 'on its way' })).prediction,
    )
  })
  it('sentence embedding: vectors of length one', async () => {
    const lines = Array.from({ length: 24 }, (_, i) => ({
      anchor: `question ${i}`,
      positive: `answer ${i}`,
      negative: `nothing ${i}`,
    }))
    const { adapter } = await trains({}, lines)
    const { embedding } = await predicts(adapter, { text: 'question 3' })
    expect(Math.hypot(...embedding)).toBeCloseTo(1, 4)
  })
  it('images in a folder per label', async () => {
    const at = temporaryFolder()
    for (const [label, shade] of [
      ['dark', 20],
      ['light', 230],
    ] as const) {
      mkdirSync(join(at, 'images', label), { recursive: true })
      for (let i = 0; i < 12; i++)
        await sharp({
          create: { width: 16, height: 16, channels: 3, background: { r: shade + i, g: shade, b: shade } },
        })
          .png()
          .toFile(join(at, 'images', label, `${i}.png`))
    }
    const config = writeRun(at, {
      model: join(root, 'test/golden/architectures/vit/model'),
      data: { train: 'images', validation: 0.25 },
      method: { name: 'lora', r: 2 },
      training: { epochs: 15, batch_size: 6, learning_rate: 5e-2 },
    })
    const { stdout, code, stderr } = await graft(['train', config])
    expect(code, stderr).toBe(0)
    expect(Number(stdout.match(/After .*accuracy ([\d.]+) %/)?.[1])).toBeGreaterThan(90)
    cpSync(join(at, 'images/light'), join(at, 'photos'), { recursive: true })
    const relativePath = relative(process.cwd(), join(at, 'photos'))
    const answers = await graft(['predict', join(at, 'out/adapter'), relativePath])
    expect(answers.code, answers.stderr).toBe(0)
    expect(answers.stdout.match(/"prediction":"light"/g)).toHaveLength(12)
    writeFileSync(join(at, 'images/dark/x.png'), 'no image')
    expect((await graft(['train', config, '--overwrite'])).stderr).toMatch(/x\.png can't be read as an image/)
  })
  it('labels and words that do not match, a label never seen', async () => {
    const c = coder()
    expect(() => tokenClassification.encode(record({ tokens: ['a', 'b'], labels: ['O'] }), c)).toThrow(
      /test:1: 2 tokens but 1 labels/,
    )
    expect(() => tokenClassification.encode(record({ tokens: ['a'], labels: ['X'] }), c)).toThrow(
      /label X does not occur in the training data/,
    )
  })
})
