import {
  type AttachContext,
  type AttentionSite,
  type Builder,
  definePeftMethod,
  GraftError,
  type LinearSite,
  type Model,
  normal,
  optionSchema,
  positive,
  sequenceAxis,
  shapeOf,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface AdaptionPromptOptions {
  adapter_len: number
  adapter_layers: number
  target_modules: string | readonly [string] | null
}

/** LLaMA-Adapter: the top layers attend to a learned prompt besides, through a gate that starts shut (Zhang et al., 2023,
 *  arXiv 2303.16199); options as HF PEFT's AdaptionPromptConfig. */
export default definePeftMethod<AdaptionPromptOptions>({
  name: 'adaption-prompt',
  apiVersion: 1,
  peftType: 'ADAPTION_PROMPT',
  family: 'prompts',
  summary: 'top layers attend to a learned prompt besides, through a gate',
  paper: 'https://arxiv.org/abs/2303.16199',
  learningRate: 1e-2,
  mergeable: false,
  startsAsIdentity: () => true,
  configSchema: optionSchema({
    adapter_len: positive(10),
    adapter_layers: positive(1),
    target_modules: {
      anyOf: [
        { type: ['string', 'null'] },
        { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 1 },
      ],
      default: null,
    },
  }),
  attach(context, options) {
    const { model, g } = context
    const name = nameOf(model, options)
    for (const site of chosen(model, name, options.adapter_layers)) {
      const { keys, values, out, direct } = projections(model, site)
      const { prompt, gate } = declared(context, site, options)
      const read = attend(g, site, { keys: keys(prompt), values: values(prompt) }, gate)
      // GPT-2's goes past the output projection in HF PEFT, the others through it, its bias once more.
      if (direct) out.output.map((y) => g.add(y, g.reshape(read, shapeOf(y))))
      else {
        out.input.map((x) => g.add(x, g.reshape(read, shapeOf(x))))
        const { bias } = out
        if (bias) out.output.map((y) => g.add(y, bias.value))
      }
    }
    return { save: () => ({ finish: () => ({ target_modules: name }) }) }
  },
})

const modules: Record<string, string> = { llama: 'self_attn', mistral: 'self_attn', gpt2: 'attn' }

/** The last part of the attentions' paths. */
const nameOf = ({ config }: Model, { target_modules }: AdaptionPromptOptions): string =>
  [target_modules].flat()[0] ?? modules[`${config.model_type}`] ?? 'self_attn'

/** The last layers' attentions. Throws TARGET_NOT_FOUND where there are fewer than asked for. */
function chosen({ attentions, file }: Model, name: string, count: number): AttentionSite[] {
  const all = attentions.filter((a) => `.${a.path}`.endsWith(`.${name}`))
  if (all.length >= count) return all.slice(-count)
  throw new GraftError(
    'TARGET_NOT_FOUND',
    `${file}: adapter_layers ${count} is more than the ${all.length} attentions named ${name}. Its attentions: ${attentions.map((a) => a.path).join(', ') || 'none'}.`,
  )
}

const declared = (
  { model, param }: AttachContext,
  { path }: AttentionSite,
  { adapter_len }: AdaptionPromptOptions,
) => ({
  prompt: param(`${path}.adaption_prompt`, {
    shape: [1, adapter_len, Number(model.config.hidden_size ?? model.tokenEmbedding?.width)],
    init: normal(1),
  }),
  gate: param(`${path}.adaption_gate`, { shape: [1], init: zeros }),
})

/** The layer's own projections of a prompt to keys and values. Throws TARGET_NOT_FOUND for an attention of another make. */
function projections(model: Model, { path, heads, headWidth }: AttentionSite) {
  const { g } = model
  const find = (name: string) => model.linears.find((l) => l.path === `${path}.${name}`)
  const through =
    ({ weight, bias }: LinearSite) =>
    (x: Value) => {
      const y = weight.applyTo(x)
      return bias ? g.add(y, bias.value) : y
    }
  const [k, v, o] = ['k_proj', 'v_proj', 'o_proj'].map(find)
  if (k && v && o) return { keys: through(k), values: through(v), out: o, direct: false }
  const [fused, c] = ['c_attn', 'c_proj'].map(find)
  const width = heads * headWidth
  const part = (i: number) => (x: Value) =>
    g.slice(through(fused as LinearSite)(x), i * width, (i + 1) * width, 2)
  if (fused && c) return { keys: part(1), values: part(2), out: c, direct: true }
  throw new GraftError(
    'TARGET_NOT_FOUND',
    `${path}: found neither k_proj, v_proj and o_proj nor c_attn and c_proj. adaption-prompt is for the attention of Llama, Mistral and GPT-2.`,
  )
}

/** gate · softmax(queries·keysᵀ/√width)·values, [batch, sequence, heads·width]; keys and values [1, length, heads·width]. */
function attend(
  g: Builder,
  { query, heads, headWidth }: AttentionSite,
  learned: { keys: Value; values: Value },
  gate: Value,
): Value {
  const first = sequenceAxis(query) === 1
  const rows = first ? g.transpose(query, [0, 2, 1, 3]) : query
  const [batch, all, sequence] = rows.shape as (number | string)[]
  const shared = Number(all) / heads
  const grouped = g.reshape(rows, [batch, heads, shared, sequence, headWidth])
  const perHead = (x: Value) =>
    g.unsqueeze(g.transpose(g.reshape(x, [-1, heads, headWidth]), [1, 0, 2]), [0, 2])
  const scores = g.scale(g.matMul(grouped, perHead(learned.keys), { transB: true }), 1 / Math.sqrt(headWidth))
  const read = g.matMul(g.mul(g.softmax(scores), gate), perHead(learned.values))
  const byToken = g.transpose(read, [0, 3, 1, 2, 4])
  return g.reshape(byToken, [batch, sequence, Number(all) * headWidth])
}
