import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, joinHeads, splitHeads } from './blocks/attention.js'
import { bareOutputs, firstToken } from './blocks/heads.js'
import { imageInput, withClassToken } from './blocks/images.js'
import { Scope } from './blocks/scope.js'

/** What checkpoints call the modules of a layer; transformers 5 has renamed them. */
const inCheckpoints: readonly [RegExp, string][] = [
  [/^(.*?)layers\.(\d+)\.attention\.q_proj\./, '$1encoder.layer.$2.attention.attention.query.'],
  [/^(.*?)layers\.(\d+)\.attention\.k_proj\./, '$1encoder.layer.$2.attention.attention.key.'],
  [/^(.*?)layers\.(\d+)\.attention\.v_proj\./, '$1encoder.layer.$2.attention.attention.value.'],
  [/^(.*?)layers\.(\d+)\.attention\.o_proj\./, '$1encoder.layer.$2.attention.output.dense.'],
  [/^(.*?)layers\.(\d+)\.mlp\.fc1\./, '$1encoder.layer.$2.intermediate.dense.'],
  [/^(.*?)layers\.(\d+)\.mlp\.fc2\./, '$1encoder.layer.$2.output.dense.'],
  [/^(.*?)layers\.(\d+)\.layernorm/, '$1encoder.layer.$2.layernorm'],
]

/** Vision Transformer (Dosovitskiy et al., 2021, arXiv 2010.11929). */
export const vit = defineArchitecture({
  name: 'vit',
  modelTypes: ['vit'],
  tasks: ['image-classification', 'features'],
  prefix: 'vit',
  names: (parameter) =>
    inCheckpoints.flatMap(([now, before]) => (now.test(parameter) ? [parameter.replace(now, before)] : [])),
  // Masked image modelling, and the pooler.
  ignores: ['tie_word_embeddings', 'encoder_stride', 'pooler_act', 'pooler_output_size'],
  unused: (tensor) => /(^|\.)(pooler\.|embeddings\.mask_token$)/.test(tensor),
  build,
})

function build(c: ArchitectureContext): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers, inner] = [
    'hidden_size',
    'num_attention_heads',
    'num_hidden_layers',
    'intermediate_size',
  ].map((key) => config.count(key))
  const [epsilon, bias] = [config.number('layer_norm_eps', 1e-12), config.flag('qkv_bias', true)]
  const act = activation(config, 'hidden_act', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'vit')
  const image = imageInput(c, config)
  const norm = (at: Scope, name: string, x: Value) => at.layerNorm(name, x, width, epsilon)
  const place = model.in('embeddings')
  const patches = place
    .in('patch_embeddings')
    .patches('projection', image.pixels, [width, image.channels, image.patch], true)
  const tokens = place.run(() => withClassToken(g, patches, place.parameter('cls_token', [1, 1, width])))
  let hidden = place.run(() =>
    g.add(tokens, place.parameter('position_embeddings', [1, image.count + 1, width])),
  )
  for (let i = 0; i < layers; i++) {
    const at = model.in('layers').in(i)
    const x = hidden
    const self = at.in('attention')
    const normed = norm(at, 'layernorm_before', x)
    const projected = ['q_proj', 'k_proj', 'v_proj'].map((name) =>
      self.linear(name, normed, width, width, bias),
    )
    const mixed = self.run(() => {
      const [query, key, value] = projected.map((y) => splitHeads(g, y, heads, Math.floor(width / heads)))
      return joinHeads(g, attend(g, { query, key, value }, {}))
    })
    const out = self.linear('o_proj', mixed, width, width)
    const after = at.run(() => g.add(out, x))
    const up = at.in('mlp').linear('fc1', norm(at, 'layernorm_after', after), width, inner)
    const fed = at.in('mlp').linear(
      'fc2',
      at.in('mlp').run(() => act(g, up)),
      inner,
      width,
    )
    hidden = at.run(() => g.add(fed, after))
  }
  const last = norm(model, 'layernorm', hidden)
  if (c.task === 'features') return bareOutputs(model, last)
  return { logits: root.head('classifier', firstToken(g, last), width, c.labels) }
}
