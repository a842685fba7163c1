import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Model } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { readSafetensors } from '@graft-peft/core/inside'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { graft, root, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'
import { type Case, counted, readCase, unpack, values } from './case.js'
import { difference, gradientDifference, outputOf } from './judge.js'

/** Other results than the kept ones: GGUF=DIR, of test/golden/make_gguf.py. */
const folder = process.env.GGUF ?? join(root, 'test/golden/gguf')
const architectures = registry.all('architecture')
type Given = Case & { file: string; tool: string; sums: Record<string, number> }
const caseOf = (name: string) => readCase(join(folder, `${name}.json`)) as Given

beforeAll(() => {
  vi.stubEnv('GRAFT_CACHE', temporaryFolder())
})

function write({ file }: Given): string {
  const path = join(temporaryFolder(), 'model.gguf')
  writeFileSync(path, gunzipSync(Buffer.from(file, 'base64')))
  return path
}

/** Greatest difference of tensors' sums, each number times one of its own, from the gguf package's; relative to their size. */
function sumsDifference(model: Model, sums: Given['sums']): number {
  const { tensors } = readSafetensors(join(model.folder, 'model.safetensors'))
  expect([...tensors.keys()].sort()).toEqual(Object.keys(sums).sort())
  const apart = [...tensors].map(([name, { dtype, shape, data }]) => {
    const own = floats(dtype, data)
    const weights = values(`${name} sum`, shape)
    const size = Math.hypot(...own.map((v, i) => v * weights[i]))
    return Math.abs(own.reduce((s, v, i) => s + v * weights[i], 0) - sums[name]) / size
  })
  return Math.max(...apart)
}
function floats(dtype: string, data: Uint8Array): number[] {
  const { buffer } = new Uint8Array(data)
  if (dtype === 'F32') return [...new Float32Array(buffer)]
  const halves = [...new Uint16Array(buffer)]
  if (dtype === 'BF16') return halves.map((h) => new Float32Array(Uint32Array.of(h << 16).buffer)[0])
  return halves.map((h) => {
    const [sign, exponent, fraction] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023]
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24)
  })
}

describe('GGUF files are the models that gguf and transformers make of them', () => {
  for (const name of readdirSync(folder).map((f) => f.replace('.json', '')))
    it(name, async () => {
      const given = caseOf(name)
      const model = openModel(write(given), { architectures })
      expect(sumsDifference(model, given.sums)).toBeLessThan(1e-3)
      const output = await outputOf(model, given)
      expect(difference(output, unpack(given.output[1]), counted(given))).toBeLessThan(1e-5)
      expect(difference(output, unpack(given.tool), counted(given))).toBeLessThan(2e-3)
      expect(await gradientDifference(model, given)).toBeLessThan(1e-4)
      expect(model.notices[0]).toMatch(/^Unpacked from GGUF, .*Q\d_[\dK] \(\d+\)/)
    })

  it('the only one of a folder is its model; files of tokenizers beside it go along', () => {
    const path = write(caseOf('llama-q8_0'))
    writeFileSync(join(path, '../tokenizer.json'), '{}')
    const model = openModel(join(path, '..'), { architectures })
    expect(existsSync(join(model.folder, 'tokenizer.json'))).toBe(true)
    expect(model.fork().path).toBe(join(path, '..'))
    expect(readFileSync(join(model.folder, 'chat_template.jinja'), 'utf8')).toMatch(/messages/)
  })
  it('4 bits of GGUF stay the same 4 bits', () => {
    const path = write(caseOf('qwen2-q4_0'))
    const weight = (quantize: 'int4' | null) =>
      openModel(path, { architectures, quantize }).linears[0].weight.reader()() as Float32Array
    const [plain, packed] = [weight(null), weight('int4')]
    expect(plain.reduce((m, v, i) => Math.max(m, Math.abs(v - packed[i])), 0)).toBeLessThan(1e-3)
  })
  it('graft inspect says what it is', async () => {
    const { stdout, code, stderr } = await graft(['inspect', write(caseOf('llama-q4_k'))])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/Unpacked from GGUF, .*Q4_K \(\d+\)/)
  })
})

describe('a GGUF file that is damaged, hostile or of another kind is refused', () => {
  const text = (s: string) => {
    const bytes = Buffer.alloc(8 + s.length, s)
    bytes.writeBigUInt64LE(BigInt(s.length))
    bytes.write(s, 8)
    return bytes
  }
  const word = (n: number) => Buffer.from(Uint32Array.of(n).buffer)
  const long = (n: bigint) => Buffer.from(BigUint64Array.of(n).buffer)
  const head = (tensors: bigint, entries: bigint, version = 3) =>
    Buffer.concat([Buffer.from('GGUF'), word(version), long(tensors), long(entries)])
  const named = Buffer.concat([text('general.architecture'), word(8)])
  const tensor = (axes: number, size: bigint, type: number, offset: bigint) =>
    Buffer.concat([text('t'), word(axes), long(size), word(type), long(offset), Buffer.alloc(64)])
  const cases: [string, Buffer, RegExp][] = [
    ['something else', Buffer.alloc(64, 'x'), /does not begin as one/],
    ['an old version', head(0n, 0n, 1), /version 1; 2 and 3 are known/],
    ['more tensors than bytes', head(2n ** 60n, 0n), /claims 1152921504606846976 tensors, and has/],
    ['more entries than bytes', head(0n, 2n ** 63n), /claims 9223372036854775808 entries/],
    ['a text longer than the file', Buffer.concat([head(0n, 1n), long(2n ** 40n), Buffer.alloc(40)]), /claims 1099511627776 letters/],
    ['a list longer than the file', Buffer.concat([head(0n, 1n), text('a'), word(9), word(0), long(2n ** 50n), Buffer.alloc(9)]), /claims 1125899906842624 values/],
    ['lists in lists without end', Buffer.concat([head(0n, 1n), text('a'), ...Array.from({ length: 40 }, () => Buffer.concat([word(9), long(1n)])), Buffer.alloc(500)]), /a value of type|claims/],
    ['a value of no type', Buffer.concat([head(0n, 1n), text('a'), word(77), Buffer.alloc(20)]), /a value of type 77/],
    ['a tensor beyond the end', Buffer.concat([head(1n, 0n), tensor(1, 2n ** 30n, 0, 0n)]), /tensor t lies beyond its end/],
    ['an offset beyond the end', Buffer.concat([head(1n, 0n), tensor(1, 4n, 0, 2n ** 63n)]), /tensor t lies beyond its end/],
    ['a size that overflows', Buffer.concat([head(1n, 0n), tensor(1, 2n ** 63n, 0, 0n)]), /tensor t is F32/],
    ['a broken block', Buffer.concat([head(1n, 0n), tensor(1, 33n, 8, 0n)]), /tensor t is Q8_0\[33\]/],
    ['a type that is not known', Buffer.concat([head(1n, 0n), tensor(1, 32n, 19, 0n)]), /tensor t is of type 19; known are F32/],
    ['too many axes', Buffer.concat([head(1n, 0n), tensor(9, 32n, 0, 0n)]), /tensor t has 9 axes/],
    ['another architecture', Buffer.concat([head(0n, 1n), named, text('rwkv7'), Buffer.alloc(40)]), /GGUF of rwkv7 is not read here; llama, qwen2, qwen3 are/],
    ['a key that is not read', Buffer.concat([head(0n, 2n), named, text('llama'), text('llama.expert_count'), word(4), word(8), Buffer.alloc(8)]), /has llama\.expert_count, which isn't read here/],
    ['nothing of a model', Buffer.concat([head(0n, 1n), named, text('llama'), Buffer.alloc(40)]), /lacks what config\.json calls hidden_size/],
  ] // biome-ignore format: a table
  it.each(cases)('%s', (_, bytes, says) => {
    const path = join(temporaryFolder(), 'bad.gguf')
    writeFileSync(path, bytes)
    expect(() => openModel(path, { architectures })).toThrow(says)
  })
  it('one cut short anywhere', () => {
    const path = write(caseOf('llama-q8_0'))
    const { length } = readFileSync(path)
    for (const at of [30, 500, 1500, length - 40]) {
      const cut = join(temporaryFolder(), 'cut.gguf')
      writeFileSync(cut, readFileSync(path))
      truncateSync(cut, at)
      expect(() => openModel(cut, { architectures })).toThrow(/cut\.gguf: not a GGUF file that can be read/)
    }
  })
})
