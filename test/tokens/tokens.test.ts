import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Coder } from '@graft-peft/core'
import { Tokenizer } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../fixture.js'

interface Golden {
  cases: Record<string, { file: object; text: string; ids: number[] }>
  framing: {
    file: object
    first: string
    second: string
    cut: { most: number; ids: number[]; pair: number[]; types: number[] }[]
  }
}
const golden = JSON.parse(readFileSync(new URL('tokens.json', import.meta.url), 'utf8')) as Golden
const folder = temporaryFolder()
const stored = (name: string, file: object) => {
  mkdirSync(join(folder, name))
  writeFileSync(join(folder, name, 'tokenizer.json'), JSON.stringify(file))
  return join(folder, name)
}

describe("tokens are those of Hugging Face's tokenizers", () => {
  for (const [name, { file, text, ids }] of Object.entries(golden.cases))
    it(name, () => expect(Tokenizer.open(stored(name, file), {}).encode(text)).toEqual(ids))

  it('a word that a vocabulary without an unknown token lacks is an error with the text', () => {
    const { file } = golden.cases.unknown as { file: { model: object } }
    const closed = { ...file, model: { ...file.model, unk_token: '' } }
    const tokenizer = Tokenizer.open(stored('closed', closed), {})
    expect(() => tokenizer.encode('a dog')).toThrow(/tokenizer\.json: .*UNK.*"a dog"/i)
  })
  it('a file that is no tokenizer says so, and the next one works', () => {
    expect(() => Tokenizer.open(stored('none', { model: { type: 'Nothing' } }), {})).toThrow(
      /none.tokenizer\.json: can't be used/,
    )
    const { file, ids, text } = golden.cases['single word']
    expect(Tokenizer.open(stored('after', file), {}).encode(text)).toEqual(ids)
  })
})

describe('a regular expression that repeats a group', () => {
  const splitting = (Regex: string) => ({
    ...(golden.cases['single word'].file as object),
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false },
    post_processor: null,
    model: { type: 'WordLevel', vocab: { ab: 0, c: 1, '?': 2 }, unk_token: '?' },
  })
  it('gives its tokens', () =>
    expect(Tokenizer.open(stored('repeats', splitting('(?:ab)+|c')), {}).encode('abcab', false)).toEqual([
      0, 1, 0,
    ]))
  it.each(['((b+)c?)+!', '(b|bb)+!'])(
    'and tries for ever is an error that names file and text: %s',
    (regex) => {
      const tokenizer = Tokenizer.open(stored(regex.replace(/\W/g, '_'), splitting(regex)), {})
      expect(tokenizer.encode('bb!', false)).toEqual([2])
      expect(() => tokenizer.encode(`${'b'.repeat(80)}?`)).toThrow(
        /tokenizer\.json: .*regular expressions tried too many ways.*"bbb/,
      )
      expect(Tokenizer.open(stored(`after${regex.length}`, splitting('c')), {}).encode('c', false)).toEqual([
        1,
      ])
    },
  )
})

describe('cutting keeps what stands around a text, and takes from the longer of two', () => {
  const { file, first, second, cut } = golden.framing
  const model = {
    folder: stored('framed', file),
    config: {},
    graph: { inputs: [] },
  } as unknown as Coder['model']
  it.each(cut)('to $most tokens', ({ most, ids, pair, types }) => {
    const coder = new Coder(model, [], { columns: {}, max_length: most, train_on_prompt: false })
    expect(coder.input({ fields: { text: first }, where: 'here' }).ids).toEqual(ids)
    const both = coder.input({ fields: { text: first, text_pair: second }, where: 'here' })
    expect(both).toEqual({ ids: pair, types })
    expect(coder.left['tokens beyond max_length'] ?? 0).toBe(Math.max(0, 8 - most) + Math.max(0, 11 - most))
  })
})

describe('words with a label each', () => {
  it('a word without a token has none, and the others keep their places', () => {
    const { file } = golden.framing as { file: { normalizer: unknown } }
    const bare = { ...file, normalizer: { type: 'Replace', pattern: { Regex: 'x+' }, content: '' } }
    const own = {
      folder: stored('bare', bare),
      config: {},
      graph: { inputs: [] },
    } as unknown as Coder['model']
    const coder = new Coder(own, ['O', 'N'], { columns: {}, max_length: 5, train_on_prompt: false })
    const tokens = ['a', 'xx', 'cat', 'a-b', 'the']
    const example = coder.words({ fields: { tokens, labels: ['O', 'N', 'N', 'O', 'N'] }, where: 'here' })
    expect(example.ids).toEqual([1, 5, 12, 5, 2])
    expect(example.tokenLabels).toEqual([-100, 0, 1, 0, -100])
    expect(example.words).toEqual({ count: 5, at: [0, 2, 3] })
    expect(coder.left).toMatchObject({ 'words without a token of their own, or beyond max_length': 2 })
  })
})
