import type { Registry } from '../container.js'
import { type Tokenizer, tokenizerOf } from '../data/tokenizer.js'
import type { Example } from '../data/example.js'
import type { TrainConfig } from '../config/config.js'
import { type Split, type EncodeReport, readInputs } from './inputs.js'

/** A stretch of an example as the model sees it. */
export interface Stretch {
  text: string
  /** whether the loss is taken on its tokens */
  supervised: boolean
  tokens: number
}
/** One example, with the stretches that are learnt. */
export interface PreviewedExample {
  stretches: Stretch[]
  tokens: number
  supervised: number
  /** the class, number or related texts to learn, for objectives that have such */
  answer?: string
}
/** What a run would see of its data: examples, counts, lengths in tokens. */
export interface Preview {
  objective: string
  /** why it is that objective */
  reason: string
  notices: readonly string[]
  examples: PreviewedExample[]
  reports: Partial<Record<Split, EncodeReport>>
  max_length: number
  labels: string[]
}

/**
 * Encodes a config's data as training would, and shows the first examples of the training part.
 *
 * @throws what preparing throws.
 */
export async function preview(config: TrainConfig, registry: Registry, count: number): Promise<Preview> {
  const inputs = await readInputs(config, registry)
  try {
    const { train, objective, reason, notices, reports, max_length, labels, model } = inputs
    const tokenizer = model.graph.inputs.some((v) => v.name === 'pixel_values')
      ? undefined
      : tokenizerOf(model)
    const examples: PreviewedExample[] = []
    for (let i = 0; i < Math.min(count, train.length); i++)
      examples.push(describe(await train.get(i), tokenizer, labels, objective.answers === 'tokens'))
    return { objective: objective.name, reason, notices, examples, reports, max_length, labels }
  } finally {
    inputs.close()
  }
}

function describe(
  example: Example,
  tokenizer: Tokenizer | undefined,
  labels: readonly string[],
  perToken: boolean,
): PreviewedExample {
  const { ids, decoderIds, tokenLabels, label, others, image } = example
  const text = (list: readonly number[]) => tokenizer?.decode(list, false) ?? ''
  const language = tokenLabels && !decoderIds && !perToken
  const stretches = image
    ? [{ text: image.file, supervised: false, tokens: 0 }]
    : stretchesOf(ids, (s) => !!language && tokenLabels[s] !== -100, text)
  const written =
    decoderIds && tokenLabels
      ? [{ text: text(tokenLabels.filter((l) => l !== -100)), supervised: true, tokens: tokenLabels.length }]
      : []
  const answer = perToken
    ? tokenLabels?.filter((l) => l !== -100).map((l) => labels[l]).join(' ')
    : label !== undefined ? (labels[label] ?? String(label)) : others?.map(text).join(' | ') // biome-ignore format: a table
  return {
    stretches: [...stretches, ...written],
    tokens: ids.length + (decoderIds?.length ?? 0),
    supervised: tokenLabels?.filter((l) => l !== -100).length ?? 1,
    answer,
  }
}

function stretchesOf(
  ids: readonly number[],
  supervised: (s: number) => boolean,
  text: (ids: readonly number[]) => string,
): Stretch[] {
  const stretches: Stretch[] = []
  let from = 0
  ids.forEach((_, s) => {
    if (s + 1 < ids.length && supervised(s + 1) === supervised(s)) return
    const part = ids.slice(from, s + 1)
    stretches.push({ text: text(part), supervised: supervised(s), tokens: part.length })
    from = s + 1
  })
  return stretches
}
