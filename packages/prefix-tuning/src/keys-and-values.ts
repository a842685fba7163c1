import {
  type AttentionSite,
  GraftError,
  type Model,
  type PrepareContext,
  type PromptOptions,
  promptRecord,
  sequenceAxis,
} from '@graft-peft/core'

/** Options of prefixes that may start from a text. */
export interface KvOptions extends PromptOptions {
  prefix_init_text: string | null
}

/** Every layer's attention. Throws NO_ATTENTION where there is none to put a prefix in. */
export function attentionsOf({ attentions, file }: Model): readonly AttentionSite[] {
  if (attentions.length > 0) return attentions
  throw new GraftError(
    'NO_ATTENTION',
    `${file}: found no attention, softmax(queries·keysᵀ)·values, to put a prefix in. Choose a method that adapts weights, such as lora.`,
  )
}

/** What HF PEFT's file records of the model, whose keys and values it counts in place of its tokens. */
export const kvRecord = (model: Model): Record<string, number> => ({
  ...promptRecord(model),
  token_dim: widthOf(model.attentions[0]),
  num_attention_heads: model.attentions[0].heads,
})

export const widthOf = ({ heads, headWidth }: AttentionSite): number => heads * headWidth

/** The keys and values that the base model itself computes for a text, repeated until there are enough tokens (HF PEFT's initialize_kv_prefix_from_text). */
export async function keysAndValues(
  { model, tokenize, feed, run }: PrepareContext,
  { prefix_init_text: text, num_virtual_tokens: count }: KvOptions,
): Promise<Float32Array> {
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
