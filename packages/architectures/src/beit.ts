import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { activation } from './blocks/activations.js'
import { firstToken } from './blocks/heads.js'
import { backboneKeys, imageInput, withTokens } from './blocks/images.js'
import { dense, gridBias, meanFrom, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'
import { olderNames } from './vit.js'

/** BEiT (Bao et al., 2022, arXiv 2106.08254): biases by distance on the grid, layers scaled per feature. */
export const beit = defineArchitecture({
  name: 'beit',
  modelTypes: ['beit'],
  tasks: ['image-classification', 'features'],
  prefix: 'beit',
  names: (parameter) => [
    ...olderNames(parameter),
    parameter.replace('shared_position_bias.', 'encoder.relative_position_bias.'),
  ],
  // Segmentation, masked image modelling, and what parts a backbone gives.
  ignores: ['vocab_size', 'use_mask_token', 'pool_scales', 'use_auxiliary_head', 'auxiliary_loss_weight', 'auxiliary_channels', 'auxiliary_num_convs', 'auxiliary_concat_input', 'semantic_loss_ignore_index', 'add_fpn', ...backboneKeys], // biome-ignore format: one line
  unused: (tensor, task) =>
    /(^|\.)embeddings\.mask_token$|relative_position_index$/.test(tensor) ||
    (task === 'features' && /(^|\.)pooler\./.test(tensor)),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner } = layerSizes(config)
  const epsilon = config.number('layer_norm_eps', 1e-12)
  const act = activation(config, 'hidden_act', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'beit')
  const image = imageInput(c, config)
  const place = model.in('embeddings')
  const patches = place
    .in('patch_embeddings')
    .patches('projection', image.pixels, [width, image.channels, image.patch], true)
  const token = place.parameter('cls_token', [1, 1, width])
  const tokens = place.run(() => withTokens(g, patches, [token]))
  const placed = config.flag('use_absolute_position_embeddings', false)
    ? place.parameter('position_embeddings', [1, image.count + 1, width])
    : undefined
  let hidden = placed ? place.run(() => g.add(tokens, placed)) : tokens
  const side = Math.sqrt(image.count)
  const [each, common] = [
    config.flag('use_relative_position_bias', false),
    config.flag('use_shared_relative_position_bias', false),
  ]
  const shared = common ? gridBias(model.in('shared_position_bias'), heads, side) : undefined
  const scaled = config.number('layer_scale_init_value', 0.1) > 0
  const shape = {
    width,
    heads,
    epsilon,
    biases: [true, false, true, true] as const,
    norms: ['layernorm_before', 'layernorm_after'] as const,
    scales: scaled ? (['lambda_1', 'lambda_2'] as const) : undefined,
    feedForward: dense(width, inner, act),
    headBias: (at: Scope): Value | undefined => {
      const own = each ? gridBias(at.in('relative_position_bias'), heads, side) : undefined
      return own && shared ? at.run(() => g.add(own, shared)) : (own ?? shared)
    },
  }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('layers').in(i), shape, hidden)
  const means = config.flag('use_mean_pooling', true)
  const last = means ? hidden : model.layerNorm('layernorm', hidden, width, epsilon)
  if (c.task === 'features') return { hidden: last }
  const pooler = model.in('pooler')
  const pooled = means ? pooler.layerNorm('layernorm', meanFrom(g, last, 1), width, epsilon) : firstToken(g, last) // biome-ignore format: one line
  return { logits: root.head('classifier', pooled, width, c.labels) }
}
