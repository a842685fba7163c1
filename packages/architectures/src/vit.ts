import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { layerSizes } from './blocks/sizes.js'
import { activation } from './blocks/activations.js'
import { bareOutputs, firstToken } from './blocks/heads.js'
import { imageInput, withTokens } from './blocks/images.js'
import { dense, vitLayer } from './blocks/vit-layer.js'
import { Scope } from './blocks/scope.js'

/** What checkpoints call the modules of a layer; transformers 5 has renamed them. */
const inCheckpoints: readonly [RegExp, string][] = [
  [/^(.*?)layers\.(\d+)\.attention\.q_proj\./, '$1encoder.layer.$2.attention.attention.query.'],
  [/^(.*?)layers\.(\d+)\.attention\.k_proj\./, '$1encoder.layer.$2.attention.attention.key.'],
  [/^(.*?)layers\.(\d+)\.attention\.v_proj\./, '$1encoder.layer.$2.attention.attention.value.'],
  [/^(.*?)layers\.(\d+)\.attention\.o_proj\./, '$1encoder.layer.$2.attention.output.dense.'],
  [/^(.*?)layers\.(\d+)\.mlp\.fc1\./, '$1encoder.layer.$2.intermediate.dense.'],
  [/^(.*?)layers\.(\d+)\.mlp\.fc2\./, '$1encoder.layer.$2.output.dense.'],
  [/^(.*?)layers\.(\d+)\.(layernorm|lambda)/, '$1encoder.layer.$2.$3'],
  [
    /^(.*?)layers\.(\d+)\.relative_position_bias\./,
    '$1encoder.layer.$2.attention.attention.relative_position_bias.',
  ],
]
/** The older name of a module of a layer. */
export const olderNames = (parameter: string): string[] =>
  inCheckpoints.flatMap(([now, before]) => (now.test(parameter) ? [parameter.replace(now, before)] : []))

/** Vision Transformer (Dosovitskiy et al., 2021, arXiv 2010.11929). */
export const vit = defineArchitecture({
  name: 'vit',
  modelTypes: ['vit'],
  tasks: ['image-classification', 'features'],
  prefix: 'vit',
  names: olderNames,
  // Masked image modelling, and the pooler.
  ignores: ['tie_word_embeddings', 'encoder_stride', 'pooler_act', 'pooler_output_size'],
  unused: (tensor) => /(^|\.)(pooler\.|embeddings\.mask_token$)/.test(tensor),
  build: (c) => build(c, 'vit', ['cls_token']),
})
/** Masked Siamese Networks' ViT (Assran et al., 2022, arXiv 2204.07141). */
export const vitMsn = defineArchitecture({ ...vit, name: 'vit-msn', modelTypes: ['vit_msn'] })
/** DeiT (Touvron et al., 2021, arXiv 2012.12877): a second token, for what is distilled. */
export const deit = defineArchitecture({
  ...vit,
  name: 'deit',
  modelTypes: ['deit'],
  prefix: 'deit',
  build: (c) => build(c, 'deit', ['cls_token', 'distillation_token']),
})

function build(c: ArchitectureContext, path: string, tokens: readonly string[]): Record<string, Value> {
  const { g, config } = c
  const { width, heads, layers, inner } = layerSizes(config)
  const [epsilon, bias] = [config.number('layer_norm_eps', 1e-12), config.flag('qkv_bias', true)]
  const act = activation(config, 'hidden_act', 'gelu')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : path)
  const image = imageInput(c, config)
  const place = model.in('embeddings')
  const patches = place
    .in('patch_embeddings')
    .patches('projection', image.pixels, [width, image.channels, image.patch], true)
  const own = tokens.map((name) => place.parameter(name, [1, 1, width]))
  const places = place.parameter('position_embeddings', [1, image.count + tokens.length, width])
  let hidden = place.run(() => g.add(withTokens(g, patches, own), places))
  const shape = {
    width,
    heads,
    epsilon,
    biases: [bias, bias, bias, true] as const,
    norms: ['layernorm_before', 'layernorm_after'] as const,
    feedForward: dense(width, inner, act),
  }
  for (let i = 0; i < layers; i++) hidden = vitLayer(model.in('layers').in(i), shape, hidden)
  const last = model.layerNorm('layernorm', hidden, width, epsilon)
  if (c.task === 'features') return bareOutputs(model, last)
  return { logits: root.head('classifier', firstToken(g, last), width, c.labels) }
}
