// A Vision Transformer of about 140,000 parameters with random weights, as a Hugging Face folder.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeSafetensors } from '@graft-peft/core/inside'
import { Random, storedFloats } from 'graft-peft'

export function writeTinyVit(
  folder,
  { size = 28, patch = 4, width = 64, layers = 4, heads = 4, inner = 128, labels = 2 } = {},
) {
  const random = new Random(0, 'tiny-vit')
  const tensors = new Map()
  const put = (name, shape, fill) =>
    tensors.set(
      name,
      storedFloats(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, fill), shape),
    )
  const weight = (name, shape) =>
    put(name, shape, () => random.normal() / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)))
  const constant = (name, shape, v) => put(name, shape, () => v)
  const linear = (name, out, into) => {
    weight(`${name}.weight`, [out, into])
    constant(`${name}.bias`, [out], 0)
  }
  const norm = (name) => {
    constant(`${name}.weight`, [width], 1)
    constant(`${name}.bias`, [width], 0)
  }
  const places = (size / patch) ** 2 + 1
  put('vit.embeddings.cls_token', [1, 1, width], () => 0.02 * random.normal())
  put('vit.embeddings.position_embeddings', [1, places, width], () => 0.02 * random.normal())
  weight('vit.embeddings.patch_embeddings.projection.weight', [width, 3, patch, patch])
  constant('vit.embeddings.patch_embeddings.projection.bias', [width], 0)
  for (let i = 0; i < layers; i++) {
    const layer = `vit.encoder.layer.${i}`
    for (const name of [
      'attention.attention.query',
      'attention.attention.key',
      'attention.attention.value',
      'attention.output.dense',
    ])
      linear(`${layer}.${name}`, width, width)
    linear(`${layer}.intermediate.dense`, inner, width)
    linear(`${layer}.output.dense`, width, inner)
    norm(`${layer}.layernorm_before`)
    norm(`${layer}.layernorm_after`)
  }
  norm('vit.layernorm')
  linear('classifier', labels, width)
  mkdirSync(folder, { recursive: true })
  writeSafetensors(join(folder, 'model.safetensors'), { tensors, metadata: { format: 'pt' } })
  const id2label = Object.fromEntries(Array.from({ length: labels }, (_, i) => [i, `LABEL_${i}`]))
  const config = {
    architectures: ['ViTForImageClassification'],
    model_type: 'vit',
    image_size: size,
    patch_size: patch,
    num_channels: 3,
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: inner,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-12,
    qkv_bias: true,
    id2label,
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config, null, 2))
  writeFileSync(
    join(folder, 'preprocessor_config.json'),
    JSON.stringify({
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
      size: { height: size, width: size },
    }),
  )
}
