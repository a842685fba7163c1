import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Classifier, Generator, openAdapter, openModel } from '@graft-peft/core/app'
import {
  adapt,
  batchOf,
  fillVariables,
  modelFeeds,
  readSafetensors,
  runOnce,
  tokenizerOf,
  writeSafetensors,
} from '@graft-peft/core/inside'
import { beforeAll, describe, expect, test } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'
import { registry } from '../tiny.js'

interface Case {
  folder: string
  model: string
  ids: number[]
  columns: number[]
  logits: number[]
}
const grown = join(root, 'test/tokens/grown')
const { cases } = JSON.parse(readFileSync(join(grown, 'logits.json'), 'utf8')) as { cases: Case[] }

async function logitsOf(folder: string, base: string, ids: number[]): Promise<Float32Array> {
  const { model, options } = await openAdapter(folder, registry, base)
  const adapted = adapt(model, { ...options, training: false })
  const { logits, graph } = adapted.model
  graph.outputs.splice(0, graph.outputs.length, logits)
  graph.prune()
  graph.dropUnusedInputs()
  const parameters = fillVariables(folder, options.stored ?? new Map(), adapted)
  const feeds = modelFeeds(model.graph.inputs, batchOf([{ ids }]), 0)
  const outputs = await runOnce(graph, {
    ...feeds,
    parameters: { dtype: 'float32', shape: [parameters.length], data: parameters },
  })
  return outputs[logits.name].data as Float32Array
}

describe('adapters that HF PEFT saved on a grown vocabulary give its logits', () => {
  test.each(cases)('$folder', async ({ folder, model, ids, columns, logits }) => {
    const base = join(root, 'test/golden/architectures', model, 'model')
    const found = await logitsOf(join(grown, folder), base, ids)
    const width = logits.length / ids.length
    expect(found.length).toBe(logits.length)
    for (let row = 0; row < ids.length; row++)
      for (const column of columns)
        expect(found[row * width + column]).toBeCloseTo(logits[row * width + column], 4)
  })
})

const tokens = ['⟦ask⟧', '⟦say⟧']
const lines = Array.from({ length: 12 }, (_, i) =>
  JSON.stringify({ text: `⟦ask⟧what is ${i}⟦say⟧it is ${i}` }),
)
const method = { name: 'lora', r: 2, target_modules: ['q_proj', 'v_proj'] }
const once = { max_steps: 4, batch_size: 4, learning_rate: 2e-2 }

describe.each([true, false])('new tokens, output layer tied to the embedding: %s', (tied) => {
  const folder = temporaryFolder()
  const [base, adapter] = [join(folder, 'base'), join(folder, 'out/adapter')]
  beforeAll(async () => {
    sproutFolder(base, { tie_word_embeddings: tied })
    if (!tied) withHead(base)
    const config = writeRun(
      folder,
      { model: base, tokens, method, data: { validation: 0 }, training: once },
      lines,
    )
    const { code, stderr } = await graft(['train', config])
    expect(code, stderr).toBe(0)
  })

  test('are saved as HF PEFT saves them, tokenizer and all', async () => {
    const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'))
    const ids = [4096, 4097]
    expect(config.trainable_token_indices).toEqual(tied ? ids : { 'model.embed_tokens': ids, lm_head: ids })
    const { tensors } = readSafetensors(join(adapter, 'adapter_model.safetensors'))
    const rows = [...tensors].filter(([key]) => key.endsWith('token_adapter.trainable_tokens_delta'))
    expect(rows.map(([key]) => key.split('.').at(-3))).toEqual(
      tied ? ['embed_tokens'] : ['lm_head', 'embed_tokens'].sort(),
    )
    for (const [, { shape }] of rows) expect(shape).toEqual([2, 192])
    const { model } = await openAdapter(adapter, registry)
    expect(model.tokenEmbedding?.rows).toBe(4098)
    expect(tokenizerOf(model).encode('⟦say⟧⟦ask⟧', false)).toEqual([4097, 4096])
  })

  test('are learnt: their rows move', async () => {
    const { model, options } = await openAdapter(adapter, registry)
    const start = adapt(model, { ...options, training: false }).variables.initial(0)
    const trained = adapt(model, { ...options, training: false })
    const values = fillVariables(adapter, options.stored ?? new Map(), trained)
    for (const v of trained.variables.list.filter((v) => v.name.endsWith('trainable_tokens_delta')))
      for (const row of [0, 1]) {
        const at = v.offset + (row * v.size) / 2
        expect(values.subarray(at, at + 192)).not.toEqual(start.subarray(at, at + 192))
      }
  })

  test('merge into a model with the longer vocabulary that gives the same logits', async () => {
    const merged = join(folder, 'merged')
    const { code, stderr } = await graft(['merge', adapter, merged])
    expect(code, stderr).toBe(0)
    expect(JSON.parse(readFileSync(join(merged, 'config.json'), 'utf8')).vocab_size).toBe(4098)
    const model = openModel(merged, { architectures: registry.all('architecture') })
    const ids = tokenizerOf(model).encode('⟦ask⟧what is 3⟦say⟧')
    expect(ids).toContain(4096)
    const found = await runOnce(model.graph, modelFeeds(model.graph.inputs, batchOf([{ ids }]), 0))
    const wanted = await logitsOf(adapter, base, ids)
    found.logits.data.forEach((v, i) => expect(v).toBeCloseTo(wanted[i], 3))
  })

  test('generate by name and from ids', async () => {
    const generator = await Generator.open(adapter, registry)
    const text = await generator.generate('⟦ask⟧what is 3⟦say⟧', { maxTokens: 4 })
    expect(await generator.generate([1, 4096], { maxTokens: 1 })).toMatchObject({ tokens: 1 })
    expect(text.prompt).toBeLessThan(10)
    await generator.close()
  })
})

describe('what cannot be', () => {
  const refused = async (settings: object) => {
    const folder = temporaryFolder()
    const base = sproutFolder(join(folder, 'base'))
    const { code, stderr } = await graft(['train', writeRun(folder, { model: base, ...settings })])
    expect(code).toBe(1)
    return stderr
  }
  test.each([
    [
      'the',
      /tokens: "the" is in the vocabulary already: .* reads " the" as the one token \d+\. .*KNOWN_TOKEN/,
    ],
    ['</s>', /tokens: "<\/s>" is in the model's vocabulary already, as token \d+ of .*KNOWN_TOKEN/],
  ])('%s is in the vocabulary, and named', async (word, says) => {
    expect(await refused({ tokens: ['⟦new⟧', word], method })).toMatch(says)
  })
  test('a method that trains no rows says which do', async () => {
    expect(await refused({ tokens, method: 'ia3' })).toMatch(
      /config\.yaml:\d+:\d+.* method ia3 trains no rows of the embedding.*Methods that do: lora/,
    )
  })
  test('an ONNX file has no rows to add', async () => {
    const { stderr } = await graft(['train', writeRun(temporaryFolder(), { tokens })])
    expect(stderr).toMatch(/is no Hugging Face folder.*NO_CHECKPOINT_BASE/)
  })
})

test('a classifier learns new tokens too', async () => {
  const folder = temporaryFolder()
  const base = sproutFolder(join(folder, 'base'))
  const { code, stderr } = await graft([
    'train',
    writeRun(folder, { model: base, tokens, training: { max_steps: 2 } }),
  ])
  expect(code, stderr).toBe(0)
  const classifier = await Classifier.open(await openAdapter(join(folder, 'out/adapter'), registry))
  expect(await classifier.predict({ text: '⟦ask⟧ when' })).toMatchObject({ score: expect.any(Number) })
  await classifier.close()
  cpSync(join(folder, 'out/adapter'), join(folder, 'b'), { recursive: true })
  const combined = await graft(['combine', join(folder, 'c'), `${folder}/out/adapter:0.5`, `${folder}/b:0.5`])
  expect(combined.stderr).toMatch(/holds rows of the embedding or output layer/)
})

/** Gives a tied model's folder an output layer of its own. */
function withHead(folder: string): void {
  const file = join(folder, 'model.safetensors')
  const { tensors, metadata } = readSafetensors(file)
  const table = tensors.get('model.embed_tokens.weight') as NonNullable<ReturnType<typeof tensors.get>>
  writeSafetensors(file, { tensors: new Map([...tensors, ['lm_head.weight', table]]), metadata })
  writeFileSync(join(folder, 'note'), 'output layer copied from the embedding')
}
