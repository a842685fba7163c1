// A LLaMA of any size with random weights, as a Hugging Face folder.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeSafetensors } from '@graft-peft/core/inside'
import { Random, storedFloats } from 'graft-peft'

export function writeTinyLlama(
  folder,
  { layers = 8, width = 256, inner = 704, heads = 4, vocabulary = 8192 } = {},
) {
  const random = new Random(0, 'tiny-llama')
  const tensors = new Map()
  const put = (name, shape, next) =>
    tensors.set(
      name,
      storedFloats(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next), shape),
    )
  const weight = (name, out, into) =>
    put(`${name}.weight`, [out, into], () => random.uniform(-1, 1) / Math.sqrt(into))
  weight('model.embed_tokens', vocabulary, width)
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      weight(`${layer}.self_attn.${name}`, width, width)
    for (const name of ['gate_proj', 'up_proj']) weight(`${layer}.mlp.${name}`, inner, width)
    weight(`${layer}.mlp.down_proj`, width, inner)
    for (const name of ['input_layernorm', 'post_attention_layernorm'])
      put(`${layer}.${name}.weight`, [width], () => 1)
  }
  put('model.norm.weight', [width], () => 1)
  mkdirSync(folder, { recursive: true })
  writeSafetensors(join(folder, 'model.safetensors'), { tensors, metadata: { format: 'pt' } })
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    vocab_size: vocabulary,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    hidden_act: 'silu',
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
}
