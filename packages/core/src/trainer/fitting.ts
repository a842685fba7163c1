import type { TrainConfig } from '../config/config.js'
import type { Example } from '../data/example.js'
import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import type { Objective } from '../objective/objective.js'

/** Whether texts can be packed into rows, where a config asks for it. Throws NO_PACKING. */
export function checkPacking(
  { data, method, methodOptions }: TrainConfig,
  model: Model,
  objective: Objective,
): void {
  if (!data.packing) return
  const { name } = method
  const why =
    !objective.packs ? `is for language modelling, not for ${objective.name}`
    : model.task === undefined ? 'needs a Hugging Face folder: an exported graph takes one text per row'
    : (method.virtualTokens?.(methodOptions).count ?? 0) > 0 ? `does not go with ${name}, whose tokens stand before each text`
    : (method.tasks?.(methodOptions) ?? 1) > 1 ? `does not go with ${name}, to which each row belongs to one task`
    : undefined // biome-ignore format: a table
  if (why)
    throw new GraftError(
      'NO_PACKING',
      `data.packing ${why}. Leave it out; batches are then made of texts of like length.`,
    )
}

/**
 * A tokenizer of another model gives ids that the embedding doesn't have; ONNX Runtime would only say "index
 * out of range".
 */
export function checkVocabulary(model: Model, { ids }: Example): void {
  const { tokenEmbedding } = model
  if (!tokenEmbedding) return
  const greatest = ids.reduce((a, b) => Math.max(a, b), 0)
  if (greatest >= tokenEmbedding.rows)
    throw new GraftError(
      'VOCABULARY_MISMATCH',
      `${model.folder}/tokenizer.json gives token ${greatest}, the model's embedding has ${tokenEmbedding.rows} rows. The tokenizer belongs to another model.`,
    )
}
