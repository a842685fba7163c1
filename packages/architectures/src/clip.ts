import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { activation } from './blocks/activations.js'
import { firstToken } from './blocks/heads.js'
import { imageInput, withTokens } from './blocks/images.js'
import { clipLayer, dense, meanFrom, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'

/** CLIP's image tower (Radford et al., 2021, arXiv 2103.00020), alone or out of a whole CLIP. */
export const clip = defineArchitecture({
  name: 'clip',
  modelTypes: ['clip_vision_model', 'clip'],
  tasks: ['image-classification', 'features'],
  prefix: 'vision_model',
  // The tower of texts, and how both are compared.
  ignores: [
    'text_config',
    'text_config_dict',
    'vision_config_dict',
    'logit_scale_init_value',
    'projection_dim',
    'vision_config.projection_dim',
    'tie_word_embeddings',
  ],
  unused: (tensor) => /^(vision_model\.)?post_layernorm\./.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g } = c
  const config = c.config.nested('vision_config') ?? c.config
  const { width, heads, layers, inner } = layerSizes(config)
  const epsilon = config.number('layer_norm_eps', 1e-5)
  const act = activation(config, 'hidden_act', 'quick_gelu')
  const root = new Scope(c)
  const projects = c.task === 'features' && root.has('visual_projection.weight')
  const model = root.in(c.task === 'features' && !projects ? '' : 'vision_model')
  const image = imageInput(c, config)
  const norm = (at: Scope, name: string, x: Value) => at.layerNorm(name, x, width, epsilon)
  const place = model.in('embeddings')
  const patches = place.patches('patch_embedding', image.pixels, [width, image.channels, image.patch], false)
  const embedded = place.run(() => {
    const token = g.reshape(place.parameter('class_embedding', [width]), [1, 1, width])
    const places = place.in('position_embedding').parameter('weight', [image.count + 1, width])
    return g.add(withTokens(g, patches, [token]), places)
  })
  let hidden = norm(model, 'pre_layrnorm', embedded)
  const shape = { ...clipLayer, width, heads, epsilon, feedForward: dense(width, inner, act) }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('encoder.layers').in(i), shape, hidden)
  if (c.task === 'image-classification') {
    return { logits: root.head('classifier', meanFrom(g, hidden, 1), width, c.labels) }
  }
  const pooled = norm(model, 'post_layernorm', firstToken(g, hidden))
  // The whole CLIP says its projection's width itself, the tower alone in its own config.
  const out = c.config.count('projection_dim', 512)
  return { pooled: projects ? root.linear('visual_projection', pooled, width, out, false) : pooled, hidden }
}
