import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { firstToken } from './blocks/heads.js'
import { backboneKeys, imageInput, withTokens } from './blocks/images.js'
import { dense, meanFrom, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'

const inCheckpoints: readonly [string, string][] = [
  ['attention.q_proj.', 'attention.attention.query.'],
  ['attention.k_proj.', 'attention.attention.key.'],
  ['attention.v_proj.', 'attention.attention.value.'],
  ['attention.o_proj.', 'attention.output.dense.'],
  ['mlp.down_proj.', 'mlp.weights_out.'],
]

/** DINOv2 (Oquab et al., 2023, arXiv 2304.07193), and with registers (Darcet et al., 2023, arXiv 2309.16588). */
export const dinov2 = defineArchitecture({
  name: 'dinov2',
  modelTypes: ['dinov2'],
  tasks: ['image-classification', 'features'],
  prefix: 'dinov2',
  names: (parameter) =>
    inCheckpoints.flatMap(([now, then]) => (parameter.includes(now) ? [parameter.replace(now, then)] : [])),
  ignores: ['layerscale_value', 'apply_layernorm', 'use_mask_token', ...backboneKeys], // biome-ignore format: one line
  unused: (tensor) => /(^|\.)embeddings\.mask_token$/.test(tensor),
  build: (c) => build(c, 'dinov2'),
})
export const dinov2WithRegisters = defineArchitecture({
  ...dinov2,
  name: 'dinov2-with-registers',
  modelTypes: ['dinov2_with_registers'],
  prefix: 'dinov2_with_registers',
  build: (c) => build(c, 'dinov2_with_registers', c.config.number('num_register_tokens', 4)),
})

function build(c: ArchitectureContext, path: string, registers = 0): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = ['hidden_size', 'num_attention_heads', 'num_hidden_layers'].map((key) =>
    config.count(key),
  )
  const [epsilon, bias] = [config.number('layer_norm_eps', 1e-6), config.flag('qkv_bias', true)]
  const inner = Math.floor(width * config.number('mlp_ratio', 4))
  const act = activation(config, 'hidden_act', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : path)
  const image = imageInput(c, config)
  const place = model.in('embeddings')
  const patches = place
    .in('patch_embeddings')
    .patches('projection', image.pixels, [width, image.channels, image.patch], true)
  const token = place.parameter('cls_token', [1, 1, width])
  const places = place.parameter('position_embeddings', [1, image.count + 1, width])
  const placed = place.run(() => g.add(withTokens(g, patches, [token]), places))
  let hidden = registers > 0 ? withRegisters(place, placed, registers, width) : placed
  const swiglu = config.flag('use_swiglu_ffn', false)
  const shape = {
    width,
    heads,
    epsilon,
    biases: [bias, bias, bias, true] as const,
    norms: ['norm1', 'norm2'] as const,
    scales: ['layer_scale1.lambda1', 'layer_scale2.lambda1'] as const,
    feedForward: swiglu ? gated(width, inner) : dense(width, inner, act),
  }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('encoder.layer').in(i), shape, hidden)
  const last = model.layerNorm('layernorm', hidden, width, epsilon)
  if (c.task === 'features') return { hidden: last, pooled: firstToken(g, last) }
  const both = root.run(() => g.concat([firstToken(g, last), meanFrom(g, last, 1 + registers)], 1))
  return { logits: root.head('classifier', both, 2 * width, c.labels) }
}

/** Registers between the class token and the patches. */
function withRegisters(at: Scope, x: Value, count: number, width: number): Value {
  const { g } = at
  const own = at.parameter('register_tokens', [1, count, width])
  return at.run(() => {
    const first = g.slice(x, 0, 1, 1)
    const rest = g.slice(x, 1, Number.MAX_SAFE_INTEGER, 1)
    const [batch] = x.shape ?? []
    return g.concat([first, g.expand(own, [batch, count, width]), rest], 1)
  })
}

/** Two thirds of the width, to a multiple of eight; checkpoints hold gate and value as one projection. */
function gated(width: number, inner: number): (at: Scope, x: Value) => Value {
  const hidden = Math.floor((Math.floor((inner * 2) / 3) + 7) / 8) * 8
  return (at, x) => {
    const { g } = at
    const [gate, value] = at.linears(['gate_proj', 'up_proj'], 'weights_in', x, width, hidden, true)
    const mixed = at.run(() => g.mul(g.op('com.microsoft::QuickGelu', [gate], { alpha: 1 }), value))
    return at.linear('down_proj', mixed, hidden, width)
  }
}
