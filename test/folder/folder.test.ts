import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Model, int64, type StoredTensor } from '@graft-peft/core'
import { type Check, openModel, verify } from '@graft-peft/core/app'
import { readSafetensors, runOnce, writeSafetensors } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Finished, graft, root, sprout, sproutFolder, temporaryFolder, writeRun } from '../fixture.js'

const architectures = defaultRegistry().all('architecture')
const open = (path: string, options = {}): Model => openModel(path, { architectures, ...options })
let folder: string
let base: string
beforeAll(() => {
  folder = temporaryFolder()
  base = sproutFolder(join(folder, 'base'))
})

const ids = [1, 50, 60, 70, 80, 90]
const feeds = (list = ids) => ({
  input_ids: int64(list, [1, list.length]),
  attention_mask: int64(
    list.map(() => 1),
    [1, list.length],
  ),
  position_ids: int64([...list.keys()], [1, list.length]),
})
const logits = async (model: Model) =>
  (await runOnce(model.graph, feeds()))[model.logits.name].data as Float32Array
const apart = (a: Float32Array, b: Float32Array) => Math.max(...a.map((v, i) => Math.abs(v - b[i])))
const ok = ({ code, stderr }: Finished) => expect(code, stderr).toBe(0)

describe('a Hugging Face folder', () => {
  it('gives the logits of its ONNX export', async () => {
    expect(apart(await logits(open(base)), await logits(open(sprout)))).toBeLessThan(1e-5)
  })
  it('names modules as its ONNX export does', () => {
    const paths = (m: Model) => new Set(m.sites.map((s) => `${s.kind} ${s.path} ${s.weight.shape}`))
    expect(paths(open(base))).toEqual(paths(open(sprout)))
  })
  it('trains to what its ONNX export trains to, and each reads the other’s adapter', async () => {
    const run = async (name: string, model: string) => {
      const at = temporaryFolder()
      ok(await graft(['train', writeRun(at, { model, training: { max_steps: 6 } }), '--overwrite']))
      const tensors = readSafetensors(join(at, 'out/adapter/adapter_model.safetensors')).tensors
      return {
        name,
        adapter: join(at, 'out/adapter'),
        tensors,
        lora: [...tensors].filter(([key]) => key.includes('lora')),
      }
    }
    const [one, other] = [await run('onnx', sprout), await run('folder', base)]
    expect([...one.tensors.keys()].sort()).toEqual([...other.tensors.keys()].sort())
    const answer = async (adapter: string, model: string) =>
      (await graft(['predict', adapter, '-', '--model', model], { input: '{"text":"where is my parcel"}\n' }))
        .stdout
    expect(JSON.parse(await answer(one.adapter, base)).prediction).toBeTypeOf('string')
    expect(JSON.parse(await answer(one.adapter, base)).score).toBeCloseTo(
      JSON.parse(await answer(one.adapter, sprout)).score,
      4,
    )
    expect(JSON.parse(await answer(other.adapter, base)).score).toBeCloseTo(
      JSON.parse(await answer(other.adapter, sprout)).score,
      4,
    )
  })
  it('trains a prefix for a classifier that reads the last token', async () => {
    const at = temporaryFolder()
    const config = writeRun(at, {
      model: base,
      objective: 'sequence-classification',
      method: { name: 'prefix-tuning', num_virtual_tokens: 12 },
      training: { max_steps: 3 },
    })
    ok(await graft(['train', config]))
  })
  it('opens half-precision weights as they lie, none expanded', () => {
    const model = open(join(root, 'test/golden/architectures/llama-bfloat16/model'))
    const stored = model.graph.constants().filter((v) => v.data && 'file' in v.data)
    expect(stored.length).toBeGreaterThan(10)
    expect(new Set(stored.map((v) => v.dtype))).toEqual(new Set(['bfloat16']))
  })
  it('reads shards', () => {
    const model = open(join(root, 'test/golden/architectures/llama-float16-sharded/model'))
    expect(
      new Set(model.graph.constants().flatMap((v) => (v.data && 'file' in v.data ? [v.data.file] : []))).size,
    ).toBeGreaterThan(1)
  })
  it('inspect lists architecture, sites and what methods would train', async () => {
    const result = await graft(['inspect', base, '--json'])
    ok(result)
    const report = JSON.parse(result.stdout)
    expect(report.architecture).toBe('llama')
    expect(report.methods.find((m: { name: string }) => m.name === 'lora').trainable).toBeGreaterThan(1000)
    expect(report.sites.some((s: { path: string }) => s.path === 'model.layers.0.self_attn.q_proj')).toBe(
      true,
    )
  })
})

/** The folder with something wrong; opening it must throw a message that matches. */
function broken(
  change: (
    folder: string,
    files: { config: Record<string, unknown>; tensors: Map<string, StoredTensor> },
  ) => void,
): () => Model {
  const at = join(temporaryFolder(), 'model')
  const golden = join(root, 'test/golden/architectures/llama-tied-linear/model')
  const config = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8'))
  const { tensors } = readSafetensors(join(golden, 'model.safetensors'))
  sproutFolder(at)
  const write = () => {
    writeFileSync(join(at, 'config.json'), JSON.stringify(config))
    writeSafetensors(join(at, 'model.safetensors'), { tensors, metadata: {} })
  }
  write()
  const before = JSON.stringify([config, [...tensors.keys()]])
  change(at, { config, tensors })
  if (JSON.stringify([config, [...tensors.keys()]]) !== before) write()
  return () => open(at)
}
const bytesOf = (at: string) => readFileSync(join(at, 'model.safetensors'))
const rewrite = (
  at: string,
  edit: (header: Record<string, { data_offsets: number[]; dtype: string; shape: number[] }>) => void,
) => {
  const bytes = bytesOf(at)
  const length = Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  edit(header)
  const text = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(join(at, 'model.safetensors'), Buffer.concat([size, text, bytes.subarray(8 + length)]))
}
const first = 'model.embed_tokens.weight'
const q = 'model.layers.0.self_attn.q_proj.weight'

describe('a folder with something wrong says what, where and what to do', () => {
  const cases: [string, () => () => Model, RegExp][] = [
    [
      'truncated weights',
      () => broken((at) => writeFileSync(join(at, 'model.safetensors'), bytesOf(at).subarray(0, 4000))),
      /model\.safetensors: not a whole safetensors file: tensor .* lies at bytes/,
    ],
    [
      'seven bytes',
      () => broken((at) => writeFileSync(join(at, 'model.safetensors'), bytesOf(at).subarray(0, 7))),
      /only 7 bytes long/,
    ],
    [
      'a header of 2^60 bytes',
      () =>
        broken((at) =>
          writeFileSync(
            join(at, 'model.safetensors'),
            Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 16]), bytesOf(at).subarray(8)]),
          ),
        ),
      /header claims 1152921504606846976 bytes/,
    ],
    [
      'a header that is not JSON',
      () => broken((at) => writeFileSync(join(at, 'model.safetensors'), bytesOf(at).fill(120, 8, 40))),
      /header is not JSON/,
    ],
    [
      'overlapping tensors',
      () =>
        broken((at) =>
          rewrite(at, (h) => {
            h[q].data_offsets = h[first].data_offsets.map((o, i) =>
              i === 0 ? o : o - h[first].data_offsets[1] + h[first].data_offsets[0] + 1024,
            )
          }),
        ),
      /overlap|bytes, but takes/,
    ],
    [
      'offsets out of range',
      () =>
        broken((at) =>
          rewrite(at, (h) => {
            h[q].data_offsets = h[q].data_offsets.map((o) => o + 10_000_000)
          }),
        ),
      new RegExp(`tensor ${q} lies at bytes`),
    ],
    [
      'negative offsets',
      () =>
        broken((at) =>
          rewrite(at, (h) => {
            h[q].data_offsets[0] = -4
          }),
        ),
      /no data_offsets of two whole numbers/,
    ],
    [
      'a type nobody knows',
      () =>
        broken((at) =>
          rewrite(at, (h) => {
            h[q].dtype = 'F8_E4M3'
          }),
        ),
      /is F8_E4M3\[16, 16\], 256 bytes, but takes 1024/,
    ],
    [
      'a tensor missing',
      () => broken((_, { tensors }) => tensors.delete(q)),
      /tensor model\.layers\.0\.self_attn\.q_proj\.weight \[16, 16\] is missing.*Did you mean/s,
    ],
    [
      'a tensor of another shape',
      () =>
        broken((_, { config }) => {
          config.intermediate_size = 20
        }),
      /config\.json makes it \[20, 16\]. Config and weights belong to different models/,
    ],
    [
      'config without a needed field',
      () =>
        broken((_, { config }) => {
          delete config.num_attention_heads
        }),
      /q_proj\.weight is \[16, 16\]; config\.json makes it \[128, 16\]/,
    ],
    [
      'config with nonsense',
      () =>
        broken((_, { config }) => {
          config.hidden_size = 'wide'
        }),
      /config\.json: hidden_size should be a positive whole number, got "wide"/,
    ],
    [
      'heads that do not divide',
      () =>
        broken((_, { config }) => {
          config.num_key_value_heads = 3
        }),
      /num_key_value_heads should be a divisor of num_attention_heads/,
    ],
    [
      'an unknown rope',
      () =>
        broken((_, { config }) => {
          config.rope_parameters = { rope_type: 'yran', rope_theta: 1 }
        }),
      /rope_type should be one of default, linear/,
    ],
    [
      'an unknown activation',
      () =>
        broken((_, { config }) => {
          config.hidden_act = 'sillu'
        }),
      /no activation sillu here. Did you mean silu/,
    ],
    [
      'an unknown architecture',
      () =>
        broken((_, { config }) => {
          config.model_type = 'LLaMA'
        }),
      /model_type "LLaMA" has no architecture here. Did you mean llama\?.*docs\/write-an-architecture\.md/s,
    ],
    [
      'a key that nobody heeds',
      () =>
        broken((_, { config }) => {
          config.mlp_biases = true
        }),
      /config\.json: the llama architecture doesn't read mlp_biases: true \(did you mean mlp_bias\?\)/,
    ],
    [
      'a number of a rope that its kind has no use for',
      () =>
        broken((_, { config }) => {
          config.rope_parameters = { rope_type: 'linear', rope_theta: 500, factor: 2, beta_fast: 3 }
        }),
      /doesn't read rope_parameters\.beta_fast: 3/,
    ],
    [
      'weights that others packed',
      () =>
        broken((_, { config }) => {
          config.quantization_config = { quant_method: 'awq', bits: 4 }
        }),
      /quantization_config says that the weights are packed by awq/,
    ],
    [
      'tensors that the model has no place for',
      () =>
        broken((_, { config }) => {
          config.num_hidden_layers = 1
        }),
      /model\.layers\.N\.input_layernorm\.weight, .* have no place in the llama model/,
    ],
    [
      'config that is not JSON',
      () => broken((at) => writeFileSync(join(at, 'config.json'), '{')),
      /config\.json: not JSON/,
    ],
  ]
  for (const [name, make, message] of cases) it(name, () => expect(make()).toThrow(message))

  it('a shard outside the folder, a shard missing, a tensor not in its shard', () => {
    const index = (map: Record<string, string>) => {
      const at = temporaryFolder()
      writeFileSync(
        join(at, 'config.json'),
        readFileSync(join(root, 'test/golden/architectures/llama/model/config.json')),
      )
      writeFileSync(join(at, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }))
      return () => open(at)
    }
    expect(index({ a: '../../etc/passwd' })).toThrow(/points outside the model's folder. Refused/)
    expect(index({ a: 'model-1.safetensors' })).toThrow(/shard model-1\.safetensors is missing/)
    expect(index('no' as never)).toThrow(/key weight_map/)
  })
  it('pickled weights alone', () => {
    const at = temporaryFolder()
    writeFileSync(join(at, 'config.json'), '{"model_type":"llama"}')
    writeFileSync(join(at, 'pytorch_model.bin'), '')
    expect(() => open(at)).toThrow(/runs code when it is loaded/)
  })
})

it('verify takes the folder beside ONNX exports and both agree', async () => {
  const checks: Check[] = []
  for await (const report of verify(join(root, 'test/golden/architectures/t5'), defaultRegistry())) {
    expect(report.status).toBe('passed')
    checks.push(...report.checks)
  }
  expect(checks.length).toBe(4)
})
