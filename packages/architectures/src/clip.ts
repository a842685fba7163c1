import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { firstToken } from './blocks/heads.js'
import { imageInput, withClassToken } from './blocks/images.js'
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
  const [width, heads, layers, inner] = [
    'hidden_size',
    'num_attention_heads',
    'num_hidden_layers',
    'intermediate_size',
  ].map((key) => config.count(key))
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
    return g.add(withClassToken(g, patches, token), places)
  })
  let hidden = norm(model, 'pre_layrnorm', embedded)
  for (let i = 0; i < layers; i++) {
    const at = model.in('encoder.layers').in(i)
    const x = hidden
    const self = at.in('self_attn')
    const normed = norm(at, 'layer_norm1', x)
    const projected = ['q_proj', 'k_proj', 'v_proj'].map((name) => self.linear(name, normed, width, width))
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
      return joinHeads(g, attend(g, { query, key, value }, {}))
    })
    const out = self.linear('out_proj', mixed, width, width)
    const after = at.run(() => g.add(x, out))
    const up = at.in('mlp').linear('fc1', norm(at, 'layer_norm2', after), width, inner)
    const fed = at.in('mlp').linear(
      'fc2',
      at.in('mlp').run(() => act(g, up)),
      inner,
      width,
    )
    hidden = at.run(() => g.add(after, fed))
  }
  if (c.task === 'image-classification') {
    const pooled = g.squeeze(g.reduceMean(g.slice(hidden, 1, image.count + 1, 1), [1]), [1])
    return { logits: root.head('classifier', pooled, width, c.labels) }
  }
  const pooled = norm(model, 'post_layernorm', firstToken(g, hidden))
  // The whole CLIP says its projection's width itself, the tower alone in its own config.
  const out = c.config.count('projection_dim', 512)
  return { pooled: projects ? root.linear('visual_projection', pooled, width, out, false) : pooled, hidden }
}
