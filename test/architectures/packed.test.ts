import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readJsonLines, readObject, storedFloats, type StoredTensor } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { readSafetensors, writeSafetensors } from '@graft-peft/core/inside'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { graft, root, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'
import { registry } from '../tiny.js'
import { type Case, counted, readCase, unpack } from './case.js'
import { difference, gradientDifference, outputOf } from './judge.js'

/** Other results than the kept ones: PACKED=DIR, of test/golden/make_packed.py. */
const folder = process.env.PACKED ?? join(root, 'test/golden/packed')
const architectures = registry.all('architecture')
type Packed = Case & { file: string }
const caseOf = (name: string) => readCase(join(folder, `${name}.json`)) as Packed

beforeAll(() => {
  vi.stubEnv('GRAFT_CACHE', temporaryFolder())
})

function write({ config, file }: Packed): string {
  const at = join(temporaryFolder(), 'model')
  mkdirSync(at)
  writeFileSync(join(at, 'config.json'), JSON.stringify(config))
  writeFileSync(join(at, 'model.safetensors'), gunzipSync(Buffer.from(file, 'base64')))
  return at
}

describe('weights that others packed are those that their tools unpack', () => {
  for (const name of readdirSync(folder).map((f) => f.replace('.json', '')))
    it(name, async () => {
      const given = caseOf(name)
      const model = openModel(write(given), { architectures })
      const far = difference(await outputOf(model, given), unpack(given.output[1]), counted(given))
      expect(far).toBeLessThan(1e-5)
      expect(await gradientDifference(model, given)).toBeLessThan(1e-4)
      expect(model.notices[0]).toMatch(/^Unpacked from .*: \d+ tensors, kept as (F32|F16|BF16) in /)
    })
})

describe('packed checkpoints that do not fit are refused before anything is unpacked', () => {
  type Tensors = Map<string, StoredTensor>
  type Said = Record<string, unknown>
  const q = 'model.layers.0.self_attn.q_proj'
  const cut = (tensors: Tensors, name: string, rows: number) => {
    const { dtype, shape, data } = tensors.get(name) as StoredTensor
    const length = (data.byteLength / shape[0]) * rows
    tensors.set(name, { dtype, shape: [rows, ...shape.slice(1)], data: data.slice(0, length) })
  }
  const cases: [string, string, (tensors: Tensors, said: Said) => void, RegExp][] = [
    ['fewer scales', 'gptq-ordered', (t) => cut(t, `${q}.scales`, 1), /q_proj\.scales should be \[2, 64\], and is \[1, 64\]/],
    ['another group size', 'awq', (_, said) => { said.group_size = 8 }, /\.qzeros should be \[12, 8\], and is \[6, 8\]/],
    ['a group that there is not', 'gptq-ordered', (t) => t.get(`${q}.g_idx`)?.data.fill(255), /g_idx should be numbers of its 2 groups/],
    ['an order that is lost', 'gptq-ordered', (t) => t.delete(`${q}.g_idx`), /g_idx should be there, as desc_act says/],
    ['bits that fill no word', 'gptq-ordered', (_, said) => { said.bits = 3 }, /packed by GPTQ with 3 bits, which is not read here/],
    ['blocks of no size', 'fp8-blocks', (_, said) => { said.weight_block_size = [0, 16] }, /weight_block_size should be two positive whole numbers/],
    ['other blocks', 'fp8-blocks', (_, said) => { said.weight_block_size = [32, 32] }, /weight_scale_inv should be scales of \[.*\] in blocks/],
    ['a number that is none', 'fp8-tensor', (t) => t.get(`${q}.weight`)?.data.fill(0x7f), /q_proj\.weight unpacks to NaN/],
    ['a state of another size', 'nf4-nested', (t) => cut(t, `${q}.weight`, 8), /q_proj\.weight should be 2048 bytes as .* says, and has 8/],
    ['a state that is no JSON', 'fp4', (t) => t.get(`${q}.weight.quant_state.bitsandbytes__fp4`)?.data.fill(91), /nested more than 100 deep|not JSON/],
    ['a shape that words do not fill', 'compressed-int4', (t) => t.get(`${q}.weight_shape`)?.data.fill(127), /weight_packed should be/],
    ['another format', 'compressed-int8', (_, said) => { said.format = 'nvfp4-pack-quantized' }, /packed by compressed-tensors as nvfp4-pack-quantized/],
    ['another tool', 'awq', (_, said) => { said.quant_method = 'quip' }, /packed by quip, which is not read here; gptq, awq, .* are/],
    ['nothing packed', 'awq', (_, said) => { said.quant_method = 'mxfp4' }, /none of the tensors is/],
  ] // biome-ignore format: a table
  it.each(cases)('%s', (_, name, damage, says) => {
    const given = caseOf(name)
    const at = write(given)
    const file = readSafetensors(join(at, 'model.safetensors'))
    const said = given.config.quantization_config as Said
    damage(file.tensors, said)
    writeSafetensors(join(at, 'model.safetensors'), file)
    writeFileSync(join(at, 'config.json'), JSON.stringify(given.config))
    expect(() => openModel(at, { architectures })).toThrow(says)
    expect(
      readdirSync(join(process.env.GRAFT_CACHE as string, 'unpacked')).filter((n) => n.endsWith('.partial')),
    ).toEqual([])
  })
})

/** The tiny language model with its layers' weights in 8 bits, as bitsandbytes saves them. */
function packedSprout(): string {
  const at = sproutFolder(join(temporaryFolder(), 'packed'), {
    quantization_config: { quant_method: 'bitsandbytes', load_in_8bit: true },
  })
  const file = readSafetensors(join(at, 'model.safetensors'))
  for (const [name, { shape, data }] of [...file.tensors].filter(([name]) => /_proj\.weight$/.test(name))) {
    const rows = new Float32Array(new Uint8Array(data).buffer)
    const scales = Float32Array.from({ length: shape[0] }, () => 2)
    const bytes = Int8Array.from(rows, (v) => Math.round(Math.max(-1, Math.min(1, v / 2)) * 127))
    file.tensors.set(name, { dtype: 'I8', shape, data: new Uint8Array(bytes.buffer) })
    file.tensors.set(name.replace('weight', 'SCB'), storedFloats(scales, [shape[0]]))
  }
  writeSafetensors(join(at, 'model.safetensors'), file)
  return at
}

it('an adapter trains on a packed base, and merges into plain weights', async () => {
  const config = writeRun(temporaryFolder(), {
    model: packedSprout(),
    method: { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] },
    data: { validation: 0 },
    training: { max_steps: 6, batch_size: 4, learning_rate: 1e-2 },
  })
  const trained = await graft(['train', config])
  expect(trained.code, trained.stderr).toBe(0)
  const out = join(config, '../out')
  const losses = readJsonLines(join(out, 'log.jsonl'), 'BAD').map((line) => Number(line.value.loss))
  expect(losses.at(-1)).toBeLessThan(losses[0])
  const merged = join(out, 'merged')
  const { code, stderr } = await graft(['merge', join(out, 'adapter'), merged])
  expect(code, stderr).toBe(0)
  expect(readObject(join(merged, 'config.json'), 'BAD')).not.toHaveProperty('quantization_config')
  const dtypes = [...readSafetensors(join(merged, 'model.safetensors')).tensors].map(([, t]) => t.dtype)
  expect([...new Set(dtypes)]).toEqual(['F32'])
})

it('graft inspect says what a base was unpacked from', async () => {
  const { stdout, code, stderr } = await graft(['inspect', write(caseOf('awq'))])
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/Unpacked from AWQ, 4 bits in groups of 16: 7 tensors, kept as F16/)
})

it('an unpacked file that a disk damaged is made again', () => {
  const at = write(caseOf('nf4-nested'))
  const weight = () => openModel(at, { architectures }).linears[0].weight.reader()()
  const before = weight()
  const cache = join(process.env.GRAFT_CACHE as string, 'unpacked')
  for (const name of readdirSync(cache).filter((n) => n.endsWith('.safetensors'))) {
    const path = join(cache, name)
    writeFileSync(path, Buffer.alloc(readFileSync(path).length))
  }
  expect(weight()).toEqual(before)
})
