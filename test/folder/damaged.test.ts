import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Model, type StoredTensor } from '@graft-peft/core'
import { type Check, openModel, verify } from '@graft-peft/core/app'
import { readSafetensors, writeSafetensors } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { beforeAll, describe, expect, it } from 'vitest'
import { root, sproutFolder, temporaryFolder } from '../fixture.js'

const architectures = defaultRegistry().all('architecture')
const open = (path: string, options = {}): Model => openModel(path, { architectures, ...options })
let folder: string
beforeAll(() => {
  folder = temporaryFolder()
  sproutFolder(join(folder, 'base'))
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
      /header: not JSON/,
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
          config.quantization_config = { quant_method: 'quip', bits: 4 }
        }),
      /the weights are packed by quip, which is not read here/,
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
