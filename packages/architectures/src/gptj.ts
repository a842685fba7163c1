import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { activation } from './blocks/activations.js'
import { attend, Cache, joinHeads, keysFirst, splitHeads } from './blocks/attention.js'
import { decoderOutputs, decoderTasks, vocabularyLogits, summaryKeys } from './blocks/heads.js'
import { textInputs } from './blocks/inputs.js'
import { attentionBias } from './blocks/masks.js'
import { fixedRope, rotate } from './blocks/rope.js'
import { Scope } from './blocks/scope.js'

/** Query, key and value of x, [batch, sequence, width] each. */
type Projections = (at: Scope, x: Value, width: number) => readonly Value[]

/** GPT-J (Wang and Komatsuzaki, 2021): GPT4All-J, Dolly 1. One norm before attention and feed-forward side by side; neighbouring features turn. */
export const gptj = defineArchitecture({
  name: 'gptj',
  modelTypes: ['gptj'],
  tasks: decoderTasks,
  prefix: 'transformer',
  ignores: [...summaryKeys, 'scale_attn_weights', 'rotary', 'n_ctx'],
  // Checkpoints hold causal masks.
  unused: (tensor) => /attn\.(masked_)?bias$|embed_positions$/.test(tensor),
  build: (c) => build(c, (at, x, width) => keysFirst((name) => at.linear(name, x, width, width, false))),
})

/** CodeGen (Nijkamp et al., 2022, arXiv 2203.13474): GPT-J with one projection, laid out as for the four machines it was trained on. */
export const codegen = defineArchitecture({
  name: 'codegen',
  modelTypes: ['codegen'],
  tasks: ['causal-lm', 'features'],
  prefix: 'transformer',
  ignores: [...summaryKeys, 'scale_attn_weights', 'rotary', 'n_ctx'],
  unused: (tensor) => /attn\.causal_mask$|attn\.(masked_)?bias$/.test(tensor),
  build: (c) => build(c, fourMachines),
})
const fourMachines: Projections = (at, x, width) => {
  const { g } = at
  const fused = at.linear('qkv_proj', x, width, 3 * width, false)
  return at.run(() => {
    const perMachine = g.op('Reshape', [fused, g.ints([0, 0, 4, (3 * width) / 4])])
    const share = new Array<number>(3).fill(width / 4)
    const [query, value, key] = g
      .split(perMachine, share, -1)
      .map((y) => g.op('Reshape', [y, g.ints([0, 0, width])]))
    return [query, key, value]
  })
}

function build(c: ArchitectureContext, projections: Projections): Record<string, Value> {
  const { g, config } = c
  const [width, heads, layers] = [
    config.count(['n_embd', 'hidden_size']),
    config.count(['n_head', 'num_attention_heads']),
    config.count(['n_layer', 'num_hidden_layers']),
  ]
  const [inner, rows, epsilon] = [
    config.count('n_inner', 4 * width),
    config.count('vocab_size'),
    config.number('layer_norm_epsilon', 1e-5),
  ]
  const headWidth = Math.floor(width / heads)
  const act = activation(config, 'activation_function', 'gelu_new')
  const root = new Scope(c)
  const model = root.in(c.task === 'features' ? '' : 'transformer')
  const inputs = textInputs(c)
  const seen = attentionBias(g, inputs, { causal: true })
  const turns = fixedRope(g, inputs, config.count('rotary_dim'), true)
  const cache = new Cache(c)

  const attention = (at: Scope, i: number, x: Value): Value => {
    const [q, k, v] = projections(at, x, width)
    const mixed = at.run(() => {
      const [query, key] = [q, k].map((y) =>
        rotate(g, splitHeads(g, y, heads, headWidth), inputs, turns, headWidth, heads),
      )
      return joinHeads(
        g,
        attend(
          g,
          { query, ...cache.extend(i, { key, value: splitHeads(g, v, heads, headWidth) }) },
          { bias: seen },
        ),
      )
    })
    return at.linear('out_proj', mixed, width, width, false)
  }
  const feedForward = (at: Scope, x: Value): Value => {
    const up = at.linear('fc_in', x, width, inner)
    return at.linear(
      'fc_out',
      at.in('act').run(() => act(g, up)),
      inner,
      width,
    )
  }
  let hidden = model.embedding('wte', inputs.ids, rows, width)
  for (let i = 0; i < layers; i++) {
    const at = model.in('h').in(i)
    const x = hidden
    const normed = at.layerNorm('ln_1', x, width, epsilon)
    const [attended, fed] = [attention(at.in('attn'), i, normed), feedForward(at.in('mlp'), normed)]
    hidden = at.run(() => g.add(g.add(attended, fed), x))
  }
  const last = model.layerNorm('ln_f', hidden, width, epsilon)
  const tied = config.flag('tie_word_embeddings', false) ? model.in('wte').path : undefined
  const outputs = decoderOutputs(c, root, last, inputs.mask, () =>
    vocabularyLogits(c, { scope: root, name: 'lm_head', width, rows, bias: true, tied }, last),
  )
  return { ...outputs, ...cache.outputs }
}
