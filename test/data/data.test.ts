import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { causalLm, Coder, type DataRecord, type Example, float32 } from '@graft-peft/core'
import { readRecords, openModel } from '@graft-peft/core/app'
import {
  adapt,
  batchOf,
  compileGradient,
  methodOptions,
  modelFeeds,
  runOnce,
  scalar,
} from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { beforeAll, describe, expect, it } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const registry = defaultRegistry()
let folder: string
let base: string
beforeAll(() => {
  folder = temporaryFolder()
  base = sproutFolder(join(folder, 'base'))
})

const read = async (name: string, content: string): Promise<DataRecord[]> => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return collect(readRecords(path))
}
async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
const failure = (name: string, content: string) =>
  read(name, content).then(
    () => 'nothing thrown',
    (e: Error) => e.message,
  )
const fields = (records: DataRecord[]) => records.map((r) => r.fields)
const pair = [
  { a: 1, b: 'x\n"[{' },
  { a: 2, b: 'é' },
]

describe('formats', () => {
  it('JSON Lines, with a byte-order mark and Windows line ends', async () => {
    const records = await read('a.jsonl', `\uFEFF${pair.map((p) => JSON.stringify(p)).join('\r\n')}\r\n\r\n`)
    expect(fields(records)).toEqual(pair)
    expect(records[1].where).toMatch(/a\.jsonl:2$/)
  })
  it('JSON: an array, and values one after another', async () => {
    expect(fields(await read('a.json', JSON.stringify(pair, null, 2)))).toEqual(pair)
    const apart = await read('b.json', pair.map((p) => JSON.stringify(p, null, 1)).join('\n'))
    expect(fields(apart)).toEqual(pair)
    expect(apart[1].where).toMatch(/b\.json:5$/)
  })
  it('CSV and TSV', async () => {
    expect(fields(await read('a.csv', 'a,b\n1,"x, ""y"""\n2,z\n'))).toEqual([
      { a: '1', b: 'x, "y"' },
      { a: '2', b: 'z' },
    ])
    expect(fields(await read('a.tsv', 'a\tb\n1\tx,y\n'))).toEqual([{ a: '1', b: 'x,y' }])
  })
  it('Parquet, compressed, whole numbers as numbers', async () => {
    const records = await collect(readRecords(join(root, 'test/data/questions.parquet')))
    expect(records).toHaveLength(40)
    expect(records[3].fields).toEqual({ text: 'where is my parcel 3', label: 'delivery', n: 3 })
  })
  it('says file, line and column of what is wrong', async () => {
    expect(await failure('x.jsonl', '{"a":1}\n{"a":1,}\n')).toMatch(/x\.jsonl:2:8: not JSON/)
    expect(await failure('y.json', '[{"a":1},\n\n{"a" 2}]')).toMatch(/y\.json:3:6: not JSON/)
    expect(await failure('z.jsonl', '[1]\n')).toMatch(/z\.jsonl:1:1: expected a JSON object/)
    expect(await failure('e.jsonl', '\n')).toMatch(/e\.jsonl: the file holds no records/)
    expect(await failure('t.txt', 'x')).toMatch(/\.txt is no known format. Known: \.jsonl/)
    expect(await failure('broken.parquet', 'PAR1 no')).toMatch(/broken\.parquet: can't be read as Parquet/)
  })
})

const coder = (template?: string, options = {}): Coder => {
  if (template !== undefined) writeFileSync(join(base, 'chat_template.jinja'), template)
  const model = openModel(base, { architectures: registry.all('architecture') })
  return new Coder(model, [], { columns: {}, max_length: 256, train_on_prompt: false, ...options })
}
const record = (value: Record<string, unknown>): DataRecord => ({ fields: value, where: 'test:1' })
const learnt = (c: Coder, { ids, tokenLabels = [] }: Example) =>
  c.tokenizer.decode(
    ids.filter((_, i) => tokenLabels[i] !== -100),
    false,
  )
const talk = [
  { role: 'user', content: 'Where is it?' },
  { role: 'assistant', content: 'On its way.' },
  { role: 'user', content: 'When?' },
  { role: 'assistant', content: 'Tomorrow.' },
]
const plainTemplate =
  '{% for m in messages %}{{ "[" + m.role + "]\\n" + m.content + "\\n" }}{% endfor %}{% if add_generation_prompt %}{{ "[assistant]\\n" }}{% endif %}'
const markedTemplate =
  '{% for m in messages %}{% if m.role == "assistant" %}A: {% generation %}{{ m.content }}!{% endgeneration %}\n{% else %}U: {{ m.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}A: {% endif %}'

describe('what is learnt of a text', () => {
  it('a completion and the end token, not the prompt', () => {
    const c = coder()
    const example = c.language(record({ prompt: 'Two and two is', completion: ' four.' }))
    expect(learnt(c, example)).toBe(' four.</s>')
    expect(example.ids.at(-1)).toBe(c.tokenizer.end)
  })
  it('tokens are those of the whole text, as the model will see it', () => {
    const c = coder()
    const example = c.language(record({ prompt: 'Two and two', completion: ' is four.' }))
    expect(example.ids.slice(0, -1)).toEqual(c.tokenizer.encode('Two and two is four.'))
  })
  it('an Alpaca record: its output', () => {
    const c = coder()
    expect(learnt(c, c.language(record({ instruction: 'Add.', input: '2 2', output: '4' })))).toBe('4</s>')
  })
  it('a conversation: what the assistant says, where the template grows by it', () => {
    const c = coder(plainTemplate)
    const example = c.language(record({ messages: talk }))
    expect(c.tokenizer.decode(example.ids, false)).toContain('[user]\nWhere is it?\n[assistant]\nOn its way.')
    expect(learnt(c, example)).toBe('On its way.\nTomorrow.\n</s>')
  })
  it('ShareGPT: the same', () => {
    const c = coder(plainTemplate)
    const conversations = talk.map((m) => ({ from: m.role === 'user' ? 'human' : 'gpt', value: m.content }))
    expect(c.language(record({ conversations }))).toEqual(c.language(record({ messages: talk })))
  })
  it('a template with {% generation %}: exactly that', () => {
    const c = coder(markedTemplate)
    expect(learnt(c, c.language(record({ messages: talk })))).toBe(' On its way.! Tomorrow.!</s>')
  })
  it('words that look like a template in what the user says change nothing', () => {
    const c = coder(plainTemplate)
    const tricky = [
      { role: 'user', content: '[assistant]\nno\n[assistant]\nno' },
      { role: 'assistant', content: 'yes' },
    ]
    expect(learnt(c, c.language(record({ messages: tricky })))).toBe('yes\n</s>')
  })
  it('a conversation without a template, or that is none', () => {
    const other = sproutFolder(join(temporaryFolder(), 'plain'))
    const model = openModel(other, { architectures: registry.all('architecture') })
    const bare = new Coder(model, [], { columns: {}, max_length: 64, train_on_prompt: false })
    expect(() => bare.language(record({ messages: talk }))).toThrow(/needs the model's chat template/)
    expect(() => coder(plainTemplate).language(record({ messages: [{ role: 'user' }] }))).toThrow(
      /test:1: message 1 has neither content nor tool_calls/,
    )
    const slip = [talk[0], { role: 'asistant', content: 'yes' }]
    expect(() => coder(plainTemplate).language(record({ messages: slip }))).toThrow(
      /test:1: the role of message 2 is "asistant"\. Did you mean assistant\?/,
    )
    expect(() => coder(plainTemplate).language(record({ question: 'x' }))).toThrow(
      /fit no format: messages \(messages\)/,
    )
  })
  it('a broken template: says where it stands', () => {
    expect(() => coder('{% for m in %}').language(record({ messages: talk }))).toThrow(
      /chat_template\.jinja: the chat template fails: line 1/,
    )
  })
})

describe('packing', () => {
  const examples: Example[] = [
    [5, 9, 12, 7, 30],
    [8, 2, 44],
    [61, 12, 12, 9],
  ].map((ids) => ({ ids, tokenLabels: ids.map((id, i) => (i === 0 ? -100 : id)) }))
  async function lossAndGradient(batch: readonly Example[]) {
    const model = openModel(base, { architectures: registry.all('architecture') })
    const method = registry.get('method', 'lora')
    const config = methodOptions(method, { r: 2, init_lora_weights: false, target_modules: 'all-linear' })
    const adapted = adapt(model, {
      method,
      methodOptions: config,
      objective: causalLm,
      labels: 0,
      expectedRows: 8,
      totalSteps: 1,
      training: false,
    })
    const made = batchOf(batch)
    const { feeds, count } = causalLm.supervise(made, 1)
    const parameters = float32(adapted.variables.initial(1))
    const outputs = await runOnce(compileGradient(adapted), {
      ...modelFeeds(model.graph.inputs, made, 0),
      ...feeds,
      inverse_count: scalar(1 / count),
      penalty_share: scalar(1),
      parameters,
    })
    return { loss: outputs.loss.data[0] as number, gradient: outputs.gradient.data as Float32Array }
  }
  it('rows of several texts give the loss and the gradients of the texts apart', async () => {
    const starts = [0, 5, 8]
    const row: Example = {
      ids: examples.flatMap((e) => [...e.ids]),
      tokenLabels: examples.flatMap((e) => [...(e.tokenLabels ?? [])]),
      starts,
    }
    const [apart, packed] = [await lossAndGradient(examples), await lossAndGradient([row])]
    expect(packed.loss).toBeCloseTo(apart.loss, 5)
    const greatest = Math.max(...apart.gradient.map(Math.abs))
    expect(Math.max(...apart.gradient.map((v, i) => Math.abs(v - packed.gradient[i])))).toBeLessThan(
      1e-5 * greatest,
    )
  })
  it('trains, in fewer rows, from the command line', async () => {
    const lines = Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({ prompt: `What is ${i} and one? `, completion: `${i + 1}.` }),
    )
    const { stdout, code, stderr } = await graft([
      'preview',
      writeRun(
        temporaryFolder(),
        { model: base, data: { packing: true, max_length: 64, validation: 0 } },
        lines,
      ),
      '--json',
    ])
    expect(code, stderr).toBe(0)
    const { train } = JSON.parse(stdout).reports
    expect(train.examples).toBe(40)
    expect(train.rows).toBeLessThan(16)
    expect(train.longest).toBeLessThanOrEqual(64)
  })
  it('is refused where it can not be had', async () => {
    expect((await graft(['train', writeRun(temporaryFolder(), { data: { packing: true } })])).stderr).toMatch(
      /data\.packing is for language modelling/,
    )
  })
})

it('accumulating 4 × 2 examples trains as a batch of 8 does', async () => {
  const lines = Array.from({ length: 32 }, (_, i) =>
    JSON.stringify({
      prompt: `${'very '.repeat(i % 5)}long ${i}? `,
      completion: 'yes, '.repeat(1 + (i % 3)),
    }),
  )
  const parameters = async (training: Record<string, unknown>) => {
    const at = temporaryFolder()
    const { code, stderr } = await graft([
      'train',
      writeRun(at, { model: base, data: { validation: 0 }, training: { max_steps: 1, ...training } }, lines),
    ])
    expect(code, stderr).toBe(0)
    return JSON.parse(readFileSync(join(at, 'out/log.jsonl'), 'utf8').split('\n')[0])
  }
  const [whole, parts] = [
    await parameters({ batch_size: 32 }),
    await parameters({ batch_size: 8, gradient_accumulation: 4 }),
  ]
  expect(parts.loss).toBeCloseTo(whole.loss, 4)
  expect(parts.gradient_norm / whole.gradient_norm).toBeCloseTo(1, 4)
})

it('a data set of many megabytes takes no more memory than a small one', async () => {
  const line = (i: number) =>
    `${JSON.stringify({ prompt: `question ${i} ${'word '.repeat(20)}`, completion: `answer ${i}` })}\n`
  const peak = async (count: number) => {
    const at = temporaryFolder()
    const config = writeRun(at, {
      model: base,
      data: { train: 'big.jsonl', validation: 0.01, max_length: 64 },
      training: { max_steps: 2, eval_every: 1000, save_every: 1000 },
    })
    writeFileSync(join(at, 'big.jsonl'), Array.from({ length: count }, (_, i) => line(i)).join(''))
    const { stdout, code, stderr } = await graft(['preview', config, '-n', '0', '--json'], {
      env: { NODE_OPTIONS: '--max-old-space-size=160 --require ' + join(root, 'test/data/peak.cjs') },
    })
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout).reports.train.examples).toBeGreaterThan(0.98 * count)
    return Number(stderr.match(/peak (\d+)/)?.[1])
  }
  const [small, large] = [await peak(500), await peak(12_000)]
  expect(large - small).toBeLessThan(90)
})
