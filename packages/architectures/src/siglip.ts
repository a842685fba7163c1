import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { imageInput, inSequence } from './blocks/images.js'
import { clipLayer, dense, meanFrom, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'

/** SigLIP's tower for images (Zhai et al., 2023, arXiv 2303.15343): no class token; a learned probe pools what all patches say. */
export const siglip = defineArchitecture({
  name: 'siglip',
  modelTypes: ['siglip', 'siglip_vision_model'],
  tasks: ['image-classification', 'features'],
  prefix: 'vision_model',
  // What texts alone go through.
  ignores: ['text_config', 'initializer_factor', 'logit_scale_init_value'],
  unused: (tensor, task) =>
    /^(text_model\.|logit_(scale|bias)$)/.test(tensor) ||
    (task === 'image-classification' && /(^|\.)head\./.test(tensor)),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g } = c
  const config = c.config.nested('vision_config') ?? c.config
  const { width, heads, layers, inner } = layerSizes(config)
  const epsilon = config.number('layer_norm_eps', 1e-6)
  const act = activation(config, 'hidden_act', 'gelu_pytorch_tanh')
  const root = new Scope(c)
  const whole = c.task !== 'features' || c.config.text('model_type', '') === 'siglip'
  const model = root.in(whole ? 'vision_model' : '')
  const image = imageInput(c, config)
  const place = model.in('embeddings')
  const patches = place.patches('patch_embedding', image.pixels, [width, image.channels, image.patch], true)
  const places = place.in('position_embedding').parameter('weight', [image.count, width])
  let hidden = place.run(() => g.add(inSequence(g, patches), places))
  const feedForward = dense(width, inner, act)
  const shape = { ...clipLayer, width, heads, epsilon, feedForward }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('encoder.layers').in(i), shape, hidden)
  const last = model.layerNorm('post_layernorm', hidden, width, epsilon)
  if (c.task === 'image-classification')
    return { logits: root.head('classifier', meanFrom(g, last, 0), width, c.labels) }
  if (!config.flag('vision_use_head', true)) return { hidden: last }
  const head = model.in('head')
  const seen = probe(head.in('attention'), head.parameter('probe', [1, 1, width]), last, width, heads)
  const normed = head.layerNorm('layernorm', seen, width, epsilon)
  const fed = feedForward(head.in('mlp'), normed)
  return { hidden: last, pooled: head.run(() => g.squeeze(g.add(seen, fed), [1])) }
}

/** torch's MultiheadAttention of one learned query. */
function probe(at: Scope, query: Value, x: Value, width: number, heads: number): Value {
  const { g } = at
  const [weight, bias] = [at.parameter('in_proj_weight', [3 * width, width]), at.parameter('in_proj_bias', [3 * width])] // biome-ignore format: one line
  const mixed = at.run(() => {
    const weights = g.split(weight, [width, width, width], 0)
    const biases = g.split(bias, [width, width, width], 0)
    const [q, key, value] = [query, x, x].map((y, i) =>
      splitHeads(g, g.add(g.linear(y, weights[i]), biases[i]), heads, Math.floor(width / heads)),
    )
    const [batch] = x.shape ?? []
    const asked = g.expand(q, [batch ?? 'batch', heads, 1, Math.floor(width / heads)])
    return joinHeads(g, attend(g, { query: asked, key, value }, {}))
  })
  return at.linear('out_proj', mixed, width, width)
}
