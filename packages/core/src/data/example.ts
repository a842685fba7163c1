import type { ImageReference } from './images.js'

/** One example as the model sees it. */
export interface Example {
  /** token ids, without padding */
  ids: readonly number[]
  /** per token of ids (of what a decoder writes, where there is one), −100 where not supervised */
  tokenLabels?: readonly number[]
  /** class, or the number to predict */
  label?: number
  /** numbers of an objective's own, such as how much it counts */
  values?: Readonly<Record<string, number>>
  /** how many words it was made of, and which of them each supervised token stands for */
  words?: { count: number; at: readonly number[] }
  /** per token, 0 for the first and 1 for the second text of a pair */
  types?: readonly number[]
  /** where the texts of a packed row start */
  starts?: readonly number[]
  /** what a decoder reads: the start token, then what it has written */
  decoderIds?: readonly number[]
  /** texts that are embedded beside this one */
  others?: readonly (readonly number[])[]
  /** image, flattened channels × height × width */
  pixels?: Float32Array
  /** which of a method's tasks it belongs to; the first when left out */
  task?: number
  /** an image not read yet */
  image?: ImageReference
  /** what frozen layers make of it, [positions, width] each, where that is kept */
  frozen?: readonly Float32Array[]
}

/** A text of nothing, alone or as one of those that belong together: there is no state to pool, to classify or to continue. */
export const isEmpty = ({ ids, others = [], pixels, image }: Example): boolean =>
  !pixels && !image && [ids, ...others].some((text) => text.length === 0)

/** How many rows of an example are learnt or compared. In a text to continue the first token has no position before it that could predict it. */
export function supervisedRows({ tokenLabels, decoderIds, label }: Example): number {
  if (!tokenLabels) return 1
  const skipped = decoderIds || label !== undefined ? 0 : 1
  return tokenLabels.slice(skipped).filter((l) => l !== -100).length
}

/** Examples padded on the right to a common length. */
export interface Batch {
  examples: readonly Example[]
  /** padded length in tokens; 2 for images */
  length: number
  /** padded length of what a decoder reads */
  decoderLength: number
  /** how many examples the rows were made from, where an objective makes several rows of one */
  sources?: number
}
