import { cpSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packed } from '../../scripts/packed.mjs'
import { found, graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

// Merged adapters in a browser, by the npm package that users load them with; nothing leaves this machine once its files are here.
const transformers = '@huggingface/transformers@4.3.2'
const runtime = 'onnxruntime-web@1.31.0-dev.20260914-8d85527a0'
const wasm = 'dist/ort-wasm-simd-threaded.asyncify'

/** Folders that the page's addresses begin with; undefined where the packages can't be fetched. */
function library(): Record<string, string> | undefined {
  try {
    return {
      lib: join(packed(transformers, ['dist/transformers.min.js'], 'graft-transformers'), 'dist'),
      ort: join(packed(runtime, [`${wasm}.wasm`, `${wasm}.mjs`], 'graft-ort-web'), 'dist'),
    }
  } catch {
    console.warn(`SKIPPED: ${transformers} can't be fetched; merged models in a browser are not checked.`)
    return undefined
  }
}
const what = 'a merged model in a browser'
const executable = found('chromium', what) ?? found('google-chrome', what)
const folders = executable ? library() : undefined

describe.skipIf(!folders)('transformers.js in Chromium loads what merge --format onnx wrote', () => {
  const at = temporaryFolder()
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executable, args: ['--no-sandbox'] })
    page = await browser.newPage()
    await page.route('**', (route) => {
      const [, place, ...rest] = new URL(route.request().url()).pathname.split('/')
      const path = join({ ...folders, models: at }[place] ?? import.meta.dirname, ...rest)
      return statSync(path, { throwIfNoEntry: false })?.isFile()
        ? route.fulfill({ path })
        : route.fulfill({ status: 404 })
    })
    await page.goto('http://graft.test/page/pipeline.html')
    await page.waitForSelector('[data-ready]', { state: 'attached' })
  })
  afterAll(() => browser?.close())

  /** What a pipeline answers in the page. */
  const asked = (task: string, folder: string, input: unknown, options: object): Promise<unknown> =>
    page.evaluate(`asked(${JSON.stringify([task, folder, input, options])})`)
  /** Trains a little, merges into `at`/name, and returns the adapter. */
  async function merged(name: string, settings: object, lines?: readonly string[]): Promise<string> {
    const folder = temporaryFolder()
    const config = writeRun(folder, { method: { name: 'lora' }, ...settings }, lines)
    const trained = await graft(['train', config])
    expect(trained.code, trained.stderr).toBe(0)
    const adapter = join(folder, 'out/adapter')
    const { code, stderr } = await graft(['merge', adapter, join(at, name), '--format', 'onnx'])
    expect(code, stderr).toBe(0)
    return adapter
  }

  it('and writes the same text', async () => {
    const base = sproutFolder(join(temporaryFolder(), 'base'))
    const prompt = 'How many are 12?'
    const lines = Array.from({ length: 24 }, (_, i) =>
      JSON.stringify({ prompt: `How many are ${i}?`, completion: ` There are ${i}, or ${i + 1}.` }),
    )
    const adapter = await merged('writer', { model: base, data: { validation: 0 }, training }, lines)
    const config = JSON.parse(readFileSync(join(at, 'writer/config.json'), 'utf8'))
    expect(config['transformers.js_config']).toEqual({
      dtype: 'fp32',
      use_external_data_format: { 'model.onnx': 1 },
    })
    const { stdout } = await graft(['generate', adapter, '--prompt', prompt, '--max-tokens', '16', '--json'])
    const { text } = JSON.parse(stdout)
    expect(text).toMatch(/are \d/)
    const options = { max_new_tokens: 16, do_sample: false, return_full_text: false }
    expect(await asked('text-generation', 'writer', prompt, options)).toEqual([{ generated_text: text }])
  })

  it('and tells classes apart as predict does, with the same scores', async () => {
    const lines = Array.from({ length: 24 }, (_, i) =>
      JSON.stringify({ text: words(i), label: i % 3 ? 'even' : 'odd' }),
    )
    const adapter = await merged('classifier', { model: bert(), training }, lines)
    const text = words(5)
    const [answer] = await predicted(adapter, text)
    const [found] = (await asked('text-classification', 'classifier', text, { top_k: 1 })) as Answer[]
    expect(found.label).toBe(answer.prediction)
    expect(found.score).toBeCloseTo(answer.score, 4)
  })
  it('and makes the same vectors, pooled as the folder says', async () => {
    const base = bert()
    mkdirSync(join(base, '1_Pooling'))
    writeFileSync(join(base, '1_Pooling/config.json'), JSON.stringify({ pooling_mode_cls_token: true }))
    writeFileSync(join(base, 'modules.json'), JSON.stringify(modules))
    const lines = Array.from({ length: 24 }, (_, i) =>
      JSON.stringify({ anchor: words(i), positive: words(i + 1) }),
    )
    const settings = { model: base, training, objective: 'sentence-embedding' }
    const adapter = await merged('embedder', settings, lines)
    expect(existsSync(join(at, 'embedder/1_Pooling/config.json'))).toBe(true)
    const [answer] = await predicted(adapter, words(5))
    const options = { pooling: 'cls', normalize: true }
    const [vector] = (await asked('feature-extraction', 'embedder', words(5), options)) as number[][]
    expect(vector).toEqual(answer.embedding.map((x) => expect.closeTo(x, 4)))
  })
})

interface Answer {
  label: string
  score: number
}
const training = { max_steps: 16, batch_size: 4, learning_rate: 2e-2 }
const modules = [
  { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
  { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
]
const words = (i: number): string => `w${(i * 7) % 35} w${(i * 3) % 35} w${i % 35}`

/** A small BERT of 40 words. */
function bert(): string {
  const folder = join(temporaryFolder(), 'bert')
  cpSync(join(root, 'test/golden/architectures/bert/model'), folder, { recursive: true })
  const vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...Array.from({ length: 36 }, (_, i) => `w${i}`)]
  const special = vocabulary.slice(0, 4)
  const tokenizer = {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, special: true, ...plain })),
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 3], cls: ['[CLS]', 2] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])),
    },
  }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
  const settings = { tokenizer_class: 'BertTokenizer', pad_token: '[PAD]', model_max_length: 32 }
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(settings))
  return folder
}
const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false }

async function predicted(
  adapter: string,
  text: string,
): Promise<{ prediction: string; score: number; embedding: number[] }[]> {
  const { stdout } = await graft(['predict', adapter, '-'], { input: JSON.stringify({ text }) })
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}
