import { Model, Random, transpose } from '@graft-peft/core'
import { Builder, bfloat16ToFloat, floatToBfloat16, Graph, shapeOf, type Value } from '@graft-peft/onnx'

/** Sizes of the toy models: small enough for finite differences, large enough for ranks, blocks and heads. */
const [vocabulary, width, inner, heads, layers, classes] = [24, 16, 24, 2, 2, 3]

/** How a toy's matrices are kept: as torch holds them in float32, [in, out] as GPT-2's are, or in bfloat16 under a cast. */
export type Storage = 'plain' | 'turned' | 'half'

class Toy {
  readonly g: Builder
  private readonly random: Random
  readonly ids: Value
  readonly mask: Value
  constructor(
    name: string,
    private readonly storage: Storage,
  ) {
    this.g = new Builder(new Graph())
    this.random = new Random(1, name)
    this.ids = this.g.graph.addInput('input_ids', 'int64', ['batch', 'sequence'])
    this.mask = this.g.graph.addInput('attention_mask', 'int64', ['batch', 'sequence'])
  }
  /** Numbers that bfloat16 has, so that they are the same in every storage. */
  private numbers(shape: readonly number[], deviation: number, mean = 0): Float32Array {
    const count = shape.reduce((a, b) => a * b, 1)
    const drawn = Float32Array.from({ length: count }, () => mean + deviation * this.random.normal())
    return bfloat16ToFloat(floatToBfloat16(drawn))
  }
  private stored(name: string, shape: readonly number[], numbers: Float32Array): Value {
    const half = this.storage === 'half' && shape.length === 2
    const { buffer } = half ? floatToBfloat16(numbers) : numbers
    const bytes = new Uint8Array(buffer as ArrayBuffer)
    const dtype = half ? 'bfloat16' : 'float32'
    const constant = this.g.graph.addConstant(name, { dtype, shape, data: { bytes } })
    return half ? this.g.cast(constant, 'float32') : constant
  }
  weight(name: string, shape: readonly number[], deviation: number, mean = 0): Value {
    return this.stored(name, shape, this.numbers(shape, deviation, mean))
  }
  /** x·Wᵀ */
  private product(x: Value, name: string, into: number, out: number): Value {
    if (this.storage !== 'turned') return this.g.linear(x, this.weight(name, [out, into], 0.3))
    const turned = transpose(this.numbers([out, into], 0.3), out, into)
    return this.g.matMul(x, this.stored(name, [into, out], turned))
  }
  private within<T>(path: string, build: () => T): T {
    return this.g.graph.within(path, build)
  }
  linear(path: string, x: Value, into: number, out: number, bias: boolean): Value {
    return this.within(path, () => {
      const y = this.product(x, `${path}.weight`, into, out)
      return bias ? this.g.add(y, this.weight(`${path}.bias`, [out], 0.1)) : y
    })
  }
  norm(path: string, x: Value, bias: boolean): Value {
    return this.within(path, () => {
      const scale = this.weight(`${path}.weight`, [width], 0.1, 1)
      if (!bias) return this.g.op('SimplifiedLayerNormalization', [x, scale], { axis: -1, epsilon: 1e-5 })
      return this.g.op('LayerNormalization', [x, scale, this.weight(`${path}.bias`, [width], 0.1)], {
        axis: -1,
        epsilon: 1e-5,
      })
    })
  }
  embedding(path: string, ids = this.ids): Value {
    return this.within(path, () =>
      this.g.gather(this.weight(`${path}.weight`, [vocabulary, width], 0.5), ids),
    )
  }
  /** 0 where a position may look, a large negative number elsewhere: at padding, and ahead where `causal`. */
  scoresMask(causal: boolean): Value {
    const { g } = this
    const seen = g.unsqueeze(g.cast(this.mask, 'bool'), [1, 2])
    return this.shut(causal ? g.op('And', [seen, this.before('sequence')]) : seen)
  }
  /** Which positions of so many stand before which, themselves included. */
  before(length: string): Value {
    const { g } = this
    const position = g.range(g.squeeze(g.dim(length), [0]))
    return g.lessOrEqual(g.unsqueeze(position, [0]), g.unsqueeze(position, [1]))
  }
  shut(seen: Value): Value {
    const { g } = this
    return g.where(seen, g.scalar(0), g.scalar(-1e9))
  }
  /** Queries of x, keys and values of `from`. */
  attention(path: string, x: Value, mask: Value, bias: boolean, from = x): Value {
    const { g } = this
    const split = (v: Value) => {
      const [batch, length] = shapeOf(v)
      return g.transpose(g.reshape(v, [batch, length, heads, width / heads]), [0, 2, 1, 3])
    }
    const [q, k, v] = (['q', 'k', 'v'] as const).map((n) =>
      split(this.linear(`${path}.${n}_proj`, n === 'q' ? x : from, width, width, bias)),
    )
    const mixed = this.within(path, () => {
      const scores = g.add(
        g.scale(g.matMul(q, g.transpose(k, [0, 1, 3, 2])), 1 / Math.sqrt(width / heads)),
        mask,
      )
      const seen = g.matMul(g.op('Softmax', [scores], { axis: -1 }), v)
      return g.reshape(g.transpose(seen, [0, 2, 1, 3]), shapeOf(x))
    })
    return this.linear(`${path}.o_proj`, mixed, width, width, bias)
  }
  block(path: string, x: Value, mask: Value, bias: boolean): Value {
    const { g } = this
    const attended = g.add(
      x,
      this.attention(`${path}.self_attn`, this.norm(`${path}.input_layernorm`, x, bias), mask, bias),
    )
    const h = this.norm(`${path}.post_attention_layernorm`, attended, bias)
    const gate = this.linear(`${path}.mlp.gate_proj`, h, width, inner, bias)
    const up = this.linear(`${path}.mlp.up_proj`, h, width, inner, bias)
    const product = this.within(`${path}.mlp`, () => g.mul(g.mul(gate, g.sigmoid(gate)), up))
    return g.add(attended, this.linear(`${path}.mlp.down_proj`, product, inner, width, bias))
  }
  stack(causal: boolean, bias: boolean): Value {
    const mask = this.scoresMask(causal)
    let x = this.embedding('model.embed_tokens')
    for (let i = 0; i < layers; i++) x = this.block(`model.layers.${i}`, x, mask, bias)
    return this.norm('model.norm', x, bias)
  }
  model(logits: Value): Model {
    const { graph } = this.g
    graph.rename(logits, 'logits')
    graph.outputs.push(logits)
    return new Model(graph, 'the toy model', '')
  }
}

/** A language model in the shape of LLaMA: no biases, RMS norms, causal. */
export function toyDecoder(storage: Storage = 'plain'): Model {
  const toy = new Toy('decoder', storage)
  return toy.model(toy.linear('lm_head', toy.stack(true, false), width, vocabulary, false))
}
/** A classifier in the shape of BERT: biases, layer norms, a pooler on the first token. */
export function toyEncoder(storage: Storage = 'plain'): Model {
  const toy = new Toy('encoder', storage)
  const first = toy.g.gather(toy.stack(false, true), toy.g.int(0), 1)
  return toy.model(toy.linear('classifier', first, width, classes, true))
}
/** A model of hidden states without a head, for objectives that embed. */
export function toyFeatures(): Model {
  const toy = new Toy('features', 'plain')
  return toy.model(toy.stack(false, true))
}
/** A classifier of images of 3 × 4 × 4 numbers, in the shape of ViT: four patches, their mean classified. */
export function toyImages(): Model {
  const toy = new Toy('images', 'plain')
  const { g } = toy
  const pixels = g.graph.addInput('pixel_values', 'float32', ['batch', 3, 4, 4])
  const cut = g.transpose(g.reshape(pixels, ['batch', 3, 2, 2, 2, 2]), [0, 2, 4, 1, 3, 5])
  let x = toy.linear('patches', g.reshape(cut, ['batch', 4, 12]), 12, width, true)
  for (let i = 0; i < layers; i++) x = toy.block(`model.layers.${i}`, x, g.scalar(0), true)
  const mean = g.reduceMean(toy.norm('model.norm', x, true), [1], false)
  const model = toy.model(toy.linear('classifier', mean, width, classes, true))
  g.graph.dropUnusedInputs()
  return model
}
/** An encoder and a decoder in the shape of BART, a layer of each kind of attention in the decoder. */
export function toyAnswerer(): Model {
  const toy = new Toy('answerer', 'plain')
  const { g } = toy
  const read = toy.stack(false, true)
  const written = g.graph.addInput('decoder_input_ids', 'int64', ['batch', 'decoder_sequence'])
  const own = toy.shut(toy.before('decoder_sequence'))
  const x = toy.block('decoder.layers.0', toy.embedding('decoder.embed_tokens', written), own, true)
  const crossed = toy.attention('decoder.layers.0.encoder_attn', x, toy.scoresMask(false), true, read)
  const last = toy.norm('decoder.norm', g.add(x, crossed), true)
  return toy.model(toy.linear('lm_head', last, width, vocabulary, false))
}
export const toySizes = { vocabulary, classes }
