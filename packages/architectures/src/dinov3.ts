import { type ArchitectureContext, type Builder, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { activation } from './blocks/activations.js'
import { gatedFeedForward, named } from './blocks/feed-forward.js'
import { firstToken } from './blocks/heads.js'
import { backboneKeys, type ImageInput, imageInput, withTokens } from './blocks/images.js'
import { dense, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'

/** DINOv3's ViT (Siméoni et al., 2025, arXiv 2508.10104): patches' heads turn with where they lie; registers. */
export const dinov3 = defineArchitecture({
  name: 'dinov3',
  modelTypes: ['dinov3_vit'],
  tasks: ['features'],
  prefix: '',
  names: (parameter) => [parameter.replace(/^model\.layer\./, 'layer.')],
  // How patches' places are varied in training, and what parts a backbone gives.
  ignores: ['layerscale_value', 'apply_layernorm', 'pos_embed_shift', 'pos_embed_jitter', 'pos_embed_rescale', ...backboneKeys], // biome-ignore format: one line
  unused: (tensor) => /(^|\.)embeddings\.(mask_token|register_tokens)$/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner } = layerSizes(config)
  const epsilon = config.number('layer_norm_eps', 1e-5)
  const registers = config.number('num_register_tokens', 0)
  const biases = ['query_bias', 'key_bias', 'value_bias', 'proj_bias'].map((key) =>
    config.flag(key, key !== 'key_bias'),
  ) as [boolean, boolean, boolean, boolean]
  const bias = config.flag('mlp_bias', true)
  const model = new Scope(c)
  const image = imageInput(c, config)
  const place = model.in('embeddings')
  const patches = place.patches('patch_embeddings', image.pixels, [width, image.channels, image.patch], true)
  const tokens = [place.parameter('cls_token', [1, 1, width])]
  if (registers > 0) tokens.push(place.parameter('register_tokens', [1, registers, width]))
  let hidden = place.run(() => withTokens(g, patches, tokens))
  const gate = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj', bias, activation: named(config, 'hidden_act', 'gelu') } // biome-ignore format: one line
  const shape = {
    width,
    heads,
    epsilon,
    biases,
    norms: ['norm1', 'norm2'] as const,
    isKeysFirst: true,
    scales: ['layer_scale1.lambda1', 'layer_scale2.lambda1'] as const,
    feedForward: config.flag('use_gated_mlp', false)
      ? (at: Scope, x: Value) => gatedFeedForward(at, gate, width, inner, x)
      : dense(width, inner, activation(config, 'hidden_act', 'gelu'), ['up_proj', 'down_proj'], bias),
    turn: turning(g, image, 1 + registers, Math.floor(width / heads), config.number('rope_theta', 100)),
  }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('model.layer').in(i), shape, hidden)
  const last = model.layerNorm('norm', hidden, width, epsilon)
  return { hidden: last, pooled: firstToken(g, last) }
}

/** Turns patches by where their centres lie between −1 and 1, down and across; tokens before them stay. */
function turning(g: Builder, { pixels, count }: ImageInput, before: number, width: number, theta: number) {
  const side = Math.sqrt(count)
  const { fround } = Math
  const frequencies = Array.from({ length: width / 4 }, (_, i) =>
    fround(1 / fround(theta ** fround((4 * i) / width))),
  )
  const centre = (i: number) => fround(2 * fround((i + 0.5) / side) - 1)
  const angles = Array.from({ length: count }, (_, i) =>
    [Math.floor(i / side), i % side].flatMap((at) =>
      frequencies.map((f) => fround(fround(fround(2 * Math.PI) * centre(at)) * f)),
    ),
  )
  const still = new Array<number[]>(before).fill(new Array<number>(width / 2).fill(0))
  const table = (f: (angle: number) => number) =>
    g.constant('float32', [...still, ...angles].flat().map(f), [before + count, width / 2])
  const positions = g.expand(g.unsqueeze(g.ints(Array.from({ length: before + count }, (_, i) => i)), [0]), [
    pixels.shape?.[0] ?? 'batch',
    before + count,
  ])
  const [cos, sin] = [table(Math.cos), table(Math.sin)]
  return (heads: Value): Value =>
    g.op('com.microsoft::RotaryEmbedding', [heads, positions, cos, sin], { interleaved: 0 })
}
