import {
  type AttachContext,
  GraftError,
  isTied,
  type MergedWeight,
  suggestion,
  trainOutputRows,
  trainRows,
} from '@graft-peft/core'

/** Rows of the embedding, or of the modules named (HF PEFT's trainable_token_indices). */
export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>

export interface TrainedRows {
  merged: MergedWeight[]
  /** the option that says the same with its modules named, where the list doesn't */
  named?: TokenIndices
}

/** Trains rows of token tables beside the low-rank updates. An output layer with a table of its own learns tokens that are new to the model too. */
export function attachTokens(context: AttachContext, indices: TokenIndices | null): TrainedRows {
  if (!indices) return { merged: [] }
  const { model, inference } = context
  const { tokenEmbedding: embedding, outputEmbedding: head } = model
  if (!embedding)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `trainable_token_indices: ${model.file} has no token embedding.`,
    )
  const learnsHead = !inference && head && model.addedTokens.length > 0 && !isTied(model, embedding)
  const list = Array.isArray(indices) ? (indices as readonly number[]) : undefined
  const byModule: Readonly<Record<string, readonly number[]>> = list
    ? { [embedding.path]: list, ...(learnsHead ? { [head.path]: list } : {}) }
    : (indices as Readonly<Record<string, readonly number[]>>)
  const merged = Object.entries(byModule).flatMap(([name, tokens]) => {
    const site = [embedding, head].find((s) => s && (s.path === name || s.path.endsWith(`.${name}`)))
    if (!site)
      throw new GraftError(
        'BAD_METHOD_OPTION',
        `trainable_token_indices: ${name} is neither the token embedding nor the output layer. ${suggestion(name, [embedding.path, ...(head ? [head.path] : [])])}`,
      )
    const rows = { tokens, name: `${site.path}.token_adapter.trainable_tokens_delta` }
    if (site.kind === 'embedding') return trainRows(context, site, rows)
    trainOutputRows(context, site, rows)
    return []
  })
  return { merged, named: list && learnsHead ? byModule : undefined }
}
