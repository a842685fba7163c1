import { readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { preview, readRecords } from '@graft-peft/core/app'
import { EpochBatches, inMemory, jsonText } from '@graft-peft/core/inside'
import { defaultRegistry, loadConfig } from 'graft-peft'
import { beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { sproutFolder, temporaryFolder } from '../fixture.js'

const registry = defaultRegistry()
let folder: string
beforeAll(() => {
  folder = temporaryFolder()
  sproutFolder(join(folder, 'base'))
})

async function read(name: string, content: string | Buffer) {
  const path = join(folder, name)
  writeFileSync(path, content)
  const notices: string[] = []
  const records = []
  for await (const { fields } of readRecords(path, (text) => notices.push(text))) records.push(fields)
  return { records, notices }
}
const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing thrown',
    (e: Error) => e.message,
  )

describe('encodings', () => {
  const text = 'text,label\nMünchen,süß\n'
  it('UTF-8 and UTF-16 are told apart, with or without a mark', async () => {
    const wanted = [{ text: 'München', label: 'süß' }]
    const wide = Buffer.from(text, 'utf16le')
    for (const [name, bytes] of [
      ['u8.csv', Buffer.from(text)],
      ['u8-mark.csv', Buffer.from(`\uFEFF${text}`)],
      ['u16.csv', wide],
      ['u16-mark.csv', Buffer.concat([Buffer.from([0xff, 0xfe]), wide])],
      ['u16be.csv', Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(wide).swap16()])],
    ] as const)
      expect(await read(name, bytes), name).toEqual({ records: wanted, notices: [] })
  })
  it('Windows-1252 is read and told; what only Cyrillic or Chinese encodings can mean is refused', async () => {
    const western = await read('w.jsonl', Buffer.from('{"text": "d\x92accord, \xe0 bient\xf4t"}\n', 'latin1'))
    expect(western.records).toEqual([{ text: 'd’accord, à bientôt' }])
    expect(western.notices[0]).toMatch(/w\.jsonl is not UTF-8 \(byte 0x92 in line 1\); read as Windows-1252/)
    const cyrillic = Buffer.from('text\n\xcf\xf0\xe8\xe2\xe5\xf2\n', 'latin1')
    expect(await failure(read('c.csv', cyrillic))).toMatch(/not UTF-8 .*line 2.*iconv/)
  })
  it('what is no text says what it is', async () => {
    expect(await failure(read('a.csv', Buffer.from('PK\x03\x04')))).toMatch(/Excel workbook/)
    expect(await failure(read('a.jsonl', Buffer.from('\x1f\x8b\x08', 'latin1')))).toMatch(/gzip/)
    expect(await failure(read('b.jsonl', 'version https://git-lfs.github.com/spec/v1\n'))).toMatch(
      /git lfs pull/,
    )
    expect(await failure(read('a.xlsx', ''))).toMatch(/save the sheet as "CSV UTF-8"/)
  })
})

describe('CSV', () => {
  it('is separated by what its header is separated by', async () => {
    const wanted = [{ text: 'a, b', label: '1,5' }]
    expect((await read('s.csv', 'text;label\na, b;1,5\n')).records).toEqual(wanted)
    expect((await read('t.csv', 'text\tlabel\na, b\t1,5\n')).records).toEqual(wanted)
    expect((await read('q.csv', '"a;b",c\n1,2\n')).records).toEqual([{ 'a;b': '1', c: '2' }])
  })
  it('an empty cell is nothing, and two columns of one name are refused', async () => {
    expect((await read('e.csv', 'a,b\n1,\n')).records).toEqual([{ a: '1', b: null }])
    expect(await failure(read('d.csv', 'a,b,a\n1,2,3\n'))).toMatch(/d\.csv:1: two columns are named "a"/)
  })
})

describe('JSON', () => {
  it('keeps numbers as they are written, there and back', async () => {
    const line = '{"id":18446744073709551615,"n":-9007199254740993,"price":30.0,"small":1e-7,"list":[1.0,2]}'
    const { records } = await read('n.jsonl', line)
    expect(records[0].id).toBe(18446744073709551615n)
    expect(jsonText(records[0])).toBe(line.replace('1e-7', '1e-7'))
  })
  it('objects that share a line are told apart by their number', async () => {
    expect(await failure(read('i.json', '[{"a":1},{"a":2},{"a":x}]'))).toMatch(
      /i\.json:1 \(object 3\): not JSON/,
    )
    expect(await failure(read('k.json', '[{"a":1},\n{"a":x}]'))).toMatch(/k\.json:2:6: not JSON/)
  })
  it('an array that breaks off, lacks a comma or goes on after its end is refused', async () => {
    expect(await failure(read('a.json', '[{"a":1},{"a":2}'))).toMatch(/a\.json:1: the array breaks off/)
    expect(await failure(read('b.json', '[{"a":1},\n'))).toMatch(/breaks off/)
    expect(await failure(read('h.json', '[{"a":1},\n{"a":2},\n{"a":'))).toMatch(
      /h\.json:3: object 3 breaks off/,
    )
    expect(await failure(read('c.json', '[{"a":1}\n{"a":2}]'))).toMatch(/c\.json:2: a comma is missing/)
    expect(await failure(read('d.json', '[{"a":1}]\n[{"a":2}]'))).toMatch(/d\.json:2: there is more/)
  })
  it('a key that stands twice is refused, a line separator inside a text is not the end of a line', async () => {
    expect(await failure(read('k.jsonl', '{"text":"a","text":"b"}'))).toMatch(
      /k\.jsonl:1:13: .*"text" stands twice/,
    )
    expect((await read('l.jsonl', '{"text":"a\u2028b"}\n')).records).toEqual([{ text: 'a\u2028b' }])
  })
})

describe('what a run learns', () => {
  const previewed = async (lines: readonly object[], data: object = {}, config: object = {}) => {
    writeFileSync(join(folder, 'd.jsonl'), lines.map((l) => JSON.stringify(l)).join('\n'))
    const method = { name: 'lora', target_modules: 'all-linear' }
    const all = { model: 'base', method, data: { train: 'd.jsonl', validation: 0, ...data }, ...config }
    writeFileSync(join(folder, 'c.yaml'), stringify(all))
    return preview(await loadConfig(join(folder, 'c.yaml'), registry), registry, 10)
  }
  const two = [
    { text: 'where is it', intent: 'yes' },
    { text: 'hello', intent: 'no' },
  ]
  it('is told, with the columns it came from and those that nobody reads', async () => {
    const { objective, reason, notices } = await previewed(two)
    expect([objective, reason]).toEqual(['causal-lm', "from the data's columns: text"])
    expect(notices.join()).toMatch(/Not read of the data: intent\. If intent is the label/)
    expect((await previewed(two, { columns: { label: 'intent' } })).notices).toEqual([])
  })
  it('mappings that name nothing are refused, near misses named', async () => {
    expect(await failure(previewed(two, { columns: { label: 'intnt' } }))).toMatch(
      /no column intnt.*Did you mean intent/,
    )
    expect(await failure(previewed(two, { columns: { lable: 'intent' } }))).toMatch(
      /lable.*Did you mean label/,
    )
    expect(await failure(previewed([{ text: 'a', ' Label': 'x' }]))).toMatch(
      /column " Label", which is nearly label/,
    )
    expect(
      await failure(previewed(two, { columns: { prompt: 'intent' } }, { objective: 'regression' })),
    ).toMatch(/objective regression reads no prompt/)
  })
  it('a column that begins with nothing still decides; records without it are named', async () => {
    const late = [
      { text: 'a', label: null },
      { text: 'b', label: 'x' },
    ]
    expect(await failure(previewed(late))).toMatch(/d\.jsonl:1: expected a label in field label, got nothing/)
    expect(await failure(previewed([{ text: 'a', label: '1,5' }], {}, { objective: 'regression' }))).toMatch(
      /expected a number in field label, got "1,5"/,
    )
  })
  it('labels: numbers in the order of numbers, twins told, a list of the config first', async () => {
    const numbered = ['10', '9', '2'].map((label) => ({ text: 'a', label }))
    expect((await previewed(numbered)).labels).toEqual(['2', '9', '10'])
    const twins = await previewed(['Yes', 'yes ', 'no'].map((label) => ({ text: 'a', label })))
    expect(twins.notices.join()).toMatch(/Labels "Yes" and "yes " differ by case or blanks alone/)
    const named = await previewed(
      [
        { text: 'a', label: 1 },
        { text: 'b', label: 0 },
      ],
      { labels: ['bad', 'good'] },
    )
    expect(named.examples.map((e) => e.answer)).toEqual(['good', 'bad'])
  })
  it('texts without a token are left out, and counted', async () => {
    const path = join(sproutFolder(join(folder, 'bare')), 'tokenizer.json')
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), post_processor: null }))
    const lines = [
      { text: '', label: 'a' },
      { text: 'b', label: 'b' },
    ]
    const { reports } = await previewed(lines, {}, { model: 'bare' })
    expect(reports.train).toMatchObject({ examples: 2, rows: 1, left: { 'examples without a token': 1 } })
  })
})

describe('paths and batches', () => {
  it('~ is the home folder, in every path of a config', async () => {
    const method = { name: 'lora', target_modules: 'all-linear' }
    const data = { train: '~/d.jsonl', validation: '~/v.jsonl' }
    writeFileSync(join(folder, 'h.yaml'), stringify({ model: 'base', method, data, output: '~/runs' }))
    const config = await loadConfig(join(folder, 'h.yaml'), registry)
    expect(config.output).toBe(join(homedir(), 'runs'))
    expect([config.data.train, config.data.validation]).toEqual(
      ['d.jsonl', 'v.jsonl'].map((f) => join(homedir(), f)),
    )
  })
  it('equal lengths come in random order, another in each epoch', () => {
    const data = inMemory(Array.from({ length: 64 }, (_, i) => ({ ids: [1, 2], label: i < 32 ? 0 : 1 })))
    const batches = (epoch: number) => {
      const all = new EpochBatches(data, 8, 0, epoch)
      return Array.from({ length: all.count }, (_, k) => [...all.batch(k)].sort((a, b) => a - b))
    }
    const mixed = batches(0).filter((b) => b.some((i) => i < 32) && b.some((i) => i >= 32))
    expect(mixed.length).toBeGreaterThan(6)
    const sets = new Set(batches(0).map(String))
    expect(batches(1).filter((b) => sets.has(String(b)))).toEqual([])
  })
})
