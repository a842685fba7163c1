import { Model, Random } from '@graft-peft/core'
import { Builder, Graph, type Value } from '@graft-peft/onnx'

/** Sizes of the toy models: small enough for finite differences, large enough for ranks, blocks and heads. */
const [vocabulary, width, inner, heads, layers, classes] = [24, 16, 24, 2, 2, 3]

class Toy {
  readonly g: Builder
  private readonly random: Random
  readonly ids: Value
  readonly mask: Value
  constructor(name: string) {
    this.g = new Builder(new Graph())
    this.random = new Random(1, name)
    this.ids = this.g.graph.addInput('input_ids', 'int64', ['batch', 'sequence'])
    this.mask = this.g.graph.addInput('attention_mask', 'int64', ['batch', 'sequence'])
  }
  weight(name: string, shape: number[], deviation: number, mean = 0): Value {
    const data = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => mean + deviation * this.random.normal(),
    )
    return this.g.graph.addConstant(name, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(data.buffer) },
    })
  }
  private within<T>(path: string, build: () => T): T {
    return this.g.graph.within(path, build)
  }
  linear(path: string, x: Value, into: number, out: number, bias: boolean): Value {
    return this.within(path, () => {
      const y = this.g.linear(x, this.weight(`${path}.weight`, [out, into], 0.3))
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
  embedding(path: string): Value {
    return this.within(path, () =>
      this.g.gather(this.weight(`${path}.weight`, [vocabulary, width], 0.5), this.ids),
    )
  }
  /** 0 where a position may look, a large negative number elsewhere: at padding, and ahead where `causal`. */
  scoresMask(causal: boolean): Value {
    const { g } = this
    const seen = g.unsqueeze(g.cast(this.mask, 'bool'), [1, 2])
    const position = g.range(g.squeeze(g.dim('sequence'), [0]))
    const before = g.lessOrEqual(g.unsqueeze(position, [0]), g.unsqueeze(position, [1]))
    return g.where(causal ? g.op('And', [seen, before]) : seen, g.scalar(0), g.scalar(-1e9))
  }
  attention(path: string, x: Value, mask: Value, bias: boolean): Value {
    const { g } = this
    const split = (v: Value) =>
      g.transpose(g.reshape(v, ['batch', 'sequence', heads, width / heads]), [0, 2, 1, 3])
    const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((n) =>
      split(this.linear(`${path}.${n}`, x, width, width, bias)),
    )
    const mixed = this.within(path, () => {
      const scores = g.add(
        g.scale(g.matMul(q, g.transpose(k, [0, 1, 3, 2])), 1 / Math.sqrt(width / heads)),
        mask,
      )
      return g.reshape(g.transpose(g.matMul(g.op('Softmax', [scores], { axis: -1 }), v), [0, 2, 1, 3]), [
        'batch',
        'sequence',
        width,
      ])
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
export function toyDecoder(): Model {
  const toy = new Toy('decoder')
  return toy.model(toy.linear('lm_head', toy.stack(true, false), width, vocabulary, false))
}
/** A classifier in the shape of BERT: biases, layer norms, a pooler on the first token. */
export function toyEncoder(): Model {
  const toy = new Toy('encoder')
  const first = toy.g.gather(toy.stack(false, true), toy.g.int(0), 1)
  return toy.model(toy.linear('classifier', first, width, classes, true))
}
export const toySizes = { vocabulary, classes }
