import {
  type AttentionSite,
  definePeftMethod,
  dropEncoder,
  flag,
  GraftError,
  hideFromPoolers,
  type Initialiser,
  normal,
  overwriteKeysAndValues,
  promptKey,
  type PromptOptions,
  promptRecord,
  promptSchema,
  sequenceAxis,
  type PrepareContext,
  uniform,
  type Value,
  zeros,
} from '@graft-peft/core'

interface PrefixOptions extends PromptOptions {
  prefix_projection: boolean
  encoder_hidden_size: number | null
  init_weights: 'zero' | null
  prefix_init_text: string | null
}

/** Learned keys and values in front of every layer's own (Li and Liang, 2021, arXiv 2101.00190); options as HF PEFT's PrefixTuningConfig. */
export default definePeftMethod<PrefixOptions>({
  name: 'prefix-tuning',
  apiVersion: 1,
  peftType: 'PREFIX_TUNING',
  summary: 'learned keys and values in front of every layer',
  paper: 'https://arxiv.org/abs/2101.00190',
  learningRate: 1e-2,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    prefix_projection: flag(false),
    encoder_hidden_size: { type: ['integer', 'null'], minimum: 1, default: null },
    init_weights: { enum: ['zero', null], default: null },
    prefix_init_text: { type: ['string', 'null'], default: null },
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: false }),
  prepare: async (context, options) =>
    options.prefix_init_text ? keysAndValues(context, options) : undefined,
  attach({ model, g, param, inference, prepared }, options) {
    const { num_virtual_tokens: count, prefix_projection } = options
    const sites = model.attentions
    if (sites.length === 0)
      throw new GraftError(
        'NO_ATTENTION',
        `${model.file}: found no attention, softmax(queries·keysᵀ)·values, to put a prefix in. Choose a method that adapts weights, such as lora.`,
      )
    const kv = widthOf(sites[0])
    const total = 2 * sites.length * kv
    const hidden = options.encoder_hidden_size ?? kv
    const project = (x: Value): Value => {
      const layer = (y: Value, name: string, into: number, out: number) => {
        const init = uniform(1 / Math.sqrt(into))
        const own = (part: string, shape: number[]) =>
          param(`prompt_encoder.transform.${name}.${part}`, { shape, init })
        return g.add(g.linear(y, own('weight', [out, into])), own('bias', [out]))
      }
      return layer(g.tanh(layer(x, '0', kv, hidden)), '2', hidden, total)
    }
    // A file holds the prefix itself, never the network that made it.
    const projected = prefix_projection && !inference
    const init: Initialiser = prepared
      ? () => prepared as Float32Array
      : options.init_weights === 'zero'
        ? zeros
        : normal(1)
    const embedding = param('prompt_encoder.embedding.weight', {
      shape: [count, projected ? kv : total],
      init,
      key: projected ? undefined : promptKey,
    })
    const prefix = projected ? project(embedding) : embedding
    const record = {
      ...promptRecord(model),
      token_dim: kv,
      num_attention_heads: sites[0].heads,
      encoder_hidden_size: hidden,
    }
    hideFromPoolers(model, count)
    overwriteKeysAndValues(model, prefix)
    const finish = (tensors: Map<string, unknown>) => {
      dropEncoder(tensors)
      return record
    }
    return { save: () => ({ ...(projected ? { tensors: { [promptKey]: prefix } } : {}), finish }) }
  },
})

const widthOf = ({ heads, headWidth }: AttentionSite): number => heads * headWidth

/** The keys and values that the base model itself computes for a text, repeated until there are enough tokens (HF PEFT's initialize_kv_prefix_from_text). */
async function keysAndValues(
  { model, tokenize, feed, run }: PrepareContext,
  { prefix_init_text: text, num_virtual_tokens: count, prefix_projection }: PrefixOptions,
): Promise<Float32Array> {
  if (prefix_projection)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      'method prefix-tuning: prefix_init_text fills the prefix itself, so it needs prefix_projection: false.',
    )
  const ids = tokenize(text ?? '')
  if (ids.length === 0) throw new GraftError('NO_INIT_TEXT', 'prefix_init_text holds no tokens.')
  const repeated = Array.from({ length: count }, (_, i) => ids[i % ids.length])
  const slots = model.attentions.flatMap(({ key, value }) => [key.value, value.value])
  const outputs = await run(Object.fromEntries(slots.map((v, i) => [`slot_${i}`, v])), feed([repeated]))
  const kv = widthOf(model.attentions[0])
  const prefix = new Float32Array(count * slots.length * kv)
  slots.forEach((_, i) => {
    const { data, shape } = outputs[`slot_${i}`]
    const sequence = sequenceAxis(slots[i])
    const [head, wide] = [1, 2, 3].filter((axis) => axis !== sequence)
    const stride = (axis: number) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)
    for (let t = 0; t < count; t++)
      for (let c = 0; c < kv; c++) {
        const at =
          t * stride(sequence) + Math.floor(c / shape[wide]) * stride(head) + (c % shape[wide]) * stride(wide)
        prefix[(t * slots.length + i) * kv + c] = data[at] as number
      }
  })
  return prefix
}
