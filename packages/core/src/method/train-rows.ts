import { GraftError } from '../errors.js'
import type { Model } from '../model/model.js'
import type { EmbeddingSite, LinearSite } from '../model/site.js'
import { type Initialiser, normal } from '../numbers/initialise.js'
import type { AttachContext, MergedWeight } from './method.js'
import { copyOf } from './variables.js'

/** How chosen rows of a table are trained. */
export interface RowsToTrain {
  tokens: readonly number[]
  /** of the parameter [tokens, width] */
  name: string
  /** whether rows start as they are, else drawn from N(0, 1) */
  asIs?: boolean
}

/** Whether output layer and embedding are one table. */
export function isTied({ outputEmbedding }: Model, site: EmbeddingSite): boolean {
  const [own, other] = [site, outputEmbedding].map((s) => s?.weight.constant?.data)
  if (own === undefined || other === undefined) return false
  const isSame = (a: Uint8Array, b: Uint8Array) => a.buffer === b.buffer && a.byteOffset === b.byteOffset
  return own === other || ('bytes' in own && 'bytes' in other && isSame(own.bytes, other.bytes))
}

/**
 * Trains rows of the embedding, and of an output layer tied to it (HF PEFT's TrainableTokensLayer).
 * @throws BAD_METHOD_OPTION.
 */
export function trainRows(
  { model, g, param }: Pick<AttachContext, 'model' | 'g' | 'param'>,
  site: EmbeddingSite,
  { tokens, name, asIs = true }: RowsToTrain,
): MergedWeight[] {
  checkRows(tokens, site.rows, site.path)
  const init = asIs ? rowsOf(site, site.rows, site.width, tokens) : normal(1)
  const rows = param(name, { shape: [tokens.length, site.width], init })
  // Rows are exchanged where they are read, so the table itself is never copied; an output layer reads all of it.
  site.output.map((y, ids) => {
    const hits = g.equal(g.unsqueeze(ids, [-1]), g.ints(tokens))
    const picked = g.cast(hits, 'float32')
    // Not ReduceSum, which gives a text of no tokens another shape: a decoder's later tokens come without one.
    const ones = g.constant('float32', new Array<number>(tokens.length).fill(1), [tokens.length, 1])
    const isHit = g.greater(g.matMul(picked, ones), g.scalar(0))
    return g.where(isHit, g.matMul(picked, rows), y)
  })
  const indices = g.constant('int64', tokens, [tokens.length, 1])
  const form = (w: typeof rows) => g.op('ScatterND', [w, indices, rows])
  if (isTied(model, site)) model.outputEmbedding?.weight.map(form)
  return [[site.weight, form]]
}

/**
 * Trains rows of an output layer that has a table of its own.
 * @throws BAD_METHOD_OPTION.
 */
export function trainOutputRows(
  { g, param }: Pick<AttachContext, 'g' | 'param'>,
  site: LinearSite,
  { tokens, name }: RowsToTrain,
): void {
  checkRows(tokens, site.outFeatures, site.path)
  const init = rowsOf(site, site.outFeatures, site.inFeatures, tokens)
  const rows = param(name, { shape: [tokens.length, site.inFeatures], init })
  const indices = g.constant('int64', tokens, [tokens.length, 1])
  site.weight.map((w) => g.op('ScatterND', [w, indices, rows]))
}

function checkRows(tokens: readonly number[], rows: number, path: string): void {
  const beyond = tokens.find((t) => t >= rows)
  if (beyond !== undefined)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `token ${beyond} is not a row of ${path}, which has ${rows}. Name tokens of the vocabulary; the config's tokens adds new ones.`,
    )
}

/** A table's own rows; read before anything stands in its place. */
function rowsOf(
  { weight }: EmbeddingSite | LinearSite,
  rows: number,
  width: number,
  tokens: readonly number[],
): Initialiser {
  const copy = copyOf(weight)
  return (_, random) => {
    const table = copy([rows, width], random)
    return Float32Array.from(tokens.flatMap((t) => [...table.subarray(t * width, (t + 1) * width)]))
  }
}
