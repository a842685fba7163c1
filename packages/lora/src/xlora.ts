import { resolve } from 'node:path'
import {
  type AttachContext,
  type Builder,
  definePeftMethod,
  flag,
  GraftError,
  kaimingUniform,
  type LowRankUpdate,
  type Model,
  optionSchema,
  positive,
  readAdapterConfig,
  readTensors,
  real,
  shapeOf,
  share,
  uniform,
  type Value,
  only,
} from '@graft-peft/core'
import { lowRank } from './low-rank.js'

export interface XLoraOptions {
  adapters: Record<string, string>
  hidden_size: number | null
  enable_softmax: boolean
  enable_softmax_topk: boolean
  softmax_temperature: number
  layerwise_scalings: boolean
  top_k_lora: number | null
  xlora_depth: number
  xlora_size: number
  xlora_dropout_p: number
  global_scaling_weight: number
}

/** Several LoRA adapters, each token's own mixture of them said by a small network that reads the base's last hidden states
 *  (Buehler and Buehler, 2024, arXiv 2402.07148); options as HF PEFT's XLoraConfig. */
export default definePeftMethod<XLoraOptions>({
  name: 'xlora',
  apiVersion: 1,
  peftType: 'XLORA',
  family: 'mixtures',
  summary: 'mixes LoRA adapters, token by token',
  paper: 'https://arxiv.org/abs/2402.07148',
  learningRate: 1e-3,
  mergeable: false,
  wholeTexts: true,
  startsAsIdentity: () => false,
  trainingOptions: ['xlora_dropout_p', 'scaling_pass_value'],
  configSchema: optionSchema({
    adapters: { type: 'object', additionalProperties: { type: 'string' }, default: {} },
    hidden_size: { type: ['integer', 'null'], minimum: 1, default: null },
    enable_softmax: flag(true),
    enable_softmax_topk: flag(false),
    softmax_temperature: { ...real(1), exclusiveMinimum: 0 },
    layerwise_scalings: flag(false),
    top_k_lora: { type: ['integer', 'null'], minimum: 1, default: null },
    xlora_depth: positive(1),
    xlora_size: positive(2048),
    xlora_dropout_p: share(0.2),
    use_trainable_adapters: only(
      false,
      "HF PEFT's file holds the network alone: what the adapters had learned would be lost",
    ),
    scaling_pass_value: only(0, 'HF PEFT reads it for a pass in which the adapters are off'),
    global_scaling_weight: real(1),
  }),
  attach(context, options) {
    const { model, g } = context
    if (g.graph.inputs.some(({ name }) => name === 'decoder_input_ids'))
      throw refused("its shares are of the tokens that are written, and an encoder's layers read others.")
    if (Object.keys(options.adapters).length === 0)
      throw refused(
        'name the LoRA adapters to mix: adapters: { 0: out/cards/adapter, 1: out/loans/adapter }.',
      )
    const experts = Object.values(options.adapters).map((folder) => expert(folder, model))
    const sites = model.linears.filter(({ path }) => experts.some((e) => e.has(path)))
    const hidden = g.stopGradient(model.graph.computedApart(lastHidden(model, options)))
    const all = mixtures(context, options, hidden, sites.length, experts.length)
    sites.forEach((site, layer) => {
      const own = options.layerwise_scalings ? g.squeeze(g.slice(all, layer, layer + 1, 2), [2]) : all
      const weights = chosen(g, own, options)
      site.output.map((y, x) => {
        if (shapeOf(x).length !== 3)
          throw refused(`${site.path} reads vectors, not sequences. Train adapters that leave it out.`)
        return experts.reduce((sum, updates, n) => {
          const update = updates.get(site.path)
          if (!update) return sum
          const read = g.mul(x, g.slice(weights, n, n + 1, -1))
          const [down, up] = [update.down, update.up].map((m) =>
            g.constant('float32', m.to1DArray(), [m.rows, m.columns]),
          )
          return g.add(sum, g.scale(g.linear(g.linear(read, down), up), options.global_scaling_weight))
        }, y)
      })
    })
    const adapters = Object.entries(options.adapters).map(([name, folder]) => [name, resolve(folder)])
    return {
      save: () => ({
        finish: () => ({
          adapters: Object.fromEntries(adapters),
          hidden_size: shapeOf(hidden).at(-1),
        }),
      }),
    }
  },
})

const refused = (what: string) => new GraftError('BAD_METHOD_OPTION', `method xlora: ${what}`)

/** A LoRA adapter's updates by module path. */
function expert(folder: string, model: Model): Map<string, LowRankUpdate> {
  const config = readAdapterConfig(folder)
  const updates =
    config.peft_type === 'LORA'
      ? lowRank.read(readTensors(folder), { rank_pattern: {}, alpha_pattern: {}, ...config })
      : undefined
  if (!updates)
    throw refused(`${folder} is ${config.peft_type}, or holds more than low-rank updates of linear layers.`)
  const fits = ({ path, down, up }: LowRankUpdate) =>
    model.linears.some((l) => l.path === path && l.inFeatures === down.columns && l.outFeatures === up.rows)
  const stray = updates.find((update) => !fits(update))
  if (stray)
    throw refused(`${folder} adapts ${stray.path}, which ${model.file} has no linear layer of that size for.`)
  return new Map(updates.map((update) => [update.path, update]))
}

/** [batch, sequence, width]: what the head of a language model reads. */
function lastHidden({ head, file }: Model, { hidden_size }: XLoraOptions): Value {
  const hidden = head?.input.value
  if (!hidden || shapeOf(hidden).length !== 3)
    throw refused(`${file} has no head that reads the last hidden state of every token.`)
  const width = shapeOf(hidden)[2]
  if (hidden_size !== null && hidden_size !== width)
    throw refused(`hidden_size ${hidden_size} is not the model's ${width}. Leave it out.`)
  return hidden
}

/** How much of each expert: [batch, sequence, experts], or [batch, sequence, layers, experts]. */
function mixtures(
  { g, param, dropout }: AttachContext,
  options: XLoraOptions,
  hidden: Value,
  layers: number,
  experts: number,
): Value {
  const { xlora_depth: depth, xlora_size: size, layerwise_scalings } = options
  const classes = layerwise_scalings ? experts * layers : experts
  let x = hidden
  for (let i = 0; i < depth; i++) {
    const last = i === depth - 1
    const [into, out] = [shapeOf(x)[2] as number, last ? classes : size]
    // HF PEFT's network is a list in which ReLU, and dropout if any, have places of their own.
    const place = i * (options.xlora_dropout_p > 0 ? 3 : 2)
    const own = (name: string) => `internal_xlora_classifier.layers.${place}.${name}`
    const W = param(own('weight'), {
      shape: [out, into],
      init: kaimingUniform,
      key: `base_model.${own('weight')}`,
    })
    const b = param(own('bias'), {
      shape: [out],
      init: uniform(1 / Math.sqrt(into)),
      key: `base_model.${own('bias')}`,
    })
    x = g.add(g.linear(x, W), b)
    if (!last) x = dropout(g.op('Relu', [x]), options.xlora_dropout_p, own('dropout'))
  }
  const [batch, sequence] = shapeOf(hidden)
  const logits = layerwise_scalings ? g.reshape(x, [batch, sequence, layers, experts]) : x
  return options.enable_softmax ? g.softmax(g.scale(logits, 1 / options.softmax_temperature)) : logits
}

/** The greatest few of a token's weights, if so many are asked for, and made to sum up to one. */
function chosen(g: Builder, all: Value, { top_k_lora: k, enable_softmax_topk }: XLoraOptions): Value {
  const experts = shapeOf(all).at(-1) as number
  let weights = all
  if (k !== null && k < experts) {
    const [greatest] = g.ops('TopK', [g.stopGradient(all), g.ints([k])], { axis: -1 }, 2)
    weights = g.mul(all, g.cast(g.op('GreaterOrEqual', [all, g.slice(greatest, k - 1, k, -1)]), 'float32'))
  }
  if (!enable_softmax_topk) return weights
  const none = g.op('Equal', [weights, g.scalar(0)])
  return g.where(none, g.scalar(0), g.softmax(g.where(none, g.scalar(-1e30), weights)))
}
