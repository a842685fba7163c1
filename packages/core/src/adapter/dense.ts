import { Matrix } from 'ml-matrix'
import { adapt } from '../compile/adapt.js'
import { GraftError } from '../errors.js'
import type { LowRankUpdate } from '../method/method.js'
import { principal } from '../numbers/principal.js'
import { transpose } from '../numbers/initialise.js'
import { copyOf } from '../method/variables.js'
import { Random } from '../numbers/random.js'
import { fold } from './fold.js'
import { randomFeeds } from './merge.js'
import { type OpenedAdapter, parametersOf } from './open.js'

/** What an adapter of any mergeable method adds to each linear layer's weight, whole: by module path, in torch's orientation. */
export async function denseUpdates(opened: OpenedAdapter): Promise<Map<string, Matrix>> {
  const { model, options, folder } = opened
  const adapted = adapt(model, { ...options, training: false })
  const { weights } = await fold(
    adapted,
    folder,
    (a) => a.model.logits,
    parametersOf(opened, adapted),
    randomFeeds(model),
  )
  const updates = new Map<string, Matrix>()
  for (const { path, weight, bias, outFeatures, inFeatures } of model.linears) {
    const merged = weights.get(weight.key)
    weights.delete(weight.key)
    if (isTrainedInFull(opened, path)) weights.delete(bias?.key ?? '')
    if (bias && weights.has(bias.key)) throw notLinear(folder, `the bias of ${path}`)
    if (!merged || isTrainedInFull(opened, path)) continue
    const own = weight.transposed ? transpose(merged, inFeatures, outFeatures) : merged
    const before = copyOf(weight)(weight.shape, new Random(0))
    updates.set(
      path,
      Matrix.from1DArray(
        outFeatures,
        inFeatures,
        Array.from(own, (v, i) => v - before[i]),
      ),
    )
  }
  if (weights.size > 0) throw notLinear(folder, [...weights.keys()].slice(0, 3).join(', '))
  return updates
}
const notLinear = (folder: string, what: string) =>
  new GraftError(
    'NOT_LINEAR',
    `${folder}: the adapter changes ${what}, which low-rank updates of linear layers can't say. It can be merged, not converted.`,
  )

export function isTrainedInFull({ options }: OpenedAdapter, path: string): boolean {
  const saved =
    (options.methodOptions.modules_to_save as readonly string[] | null) ?? options.objective.savedModules
  return saved.some((name) => path === name || path.endsWith(`.${name}`) || path.startsWith(`${name}.`))
}

export interface Truncated {
  update: LowRankUpdate
  /** ‖ΔW − up·down‖ / ‖ΔW‖ */
  error: number
}

/** The best approximation of rank at most r (Eckart and Young, 1936), singular values' roots on both sides. */
export function truncate(path: string, dense: Matrix, r: number): Truncated {
  const rank = Math.min(r, dense.rows, dense.columns)
  return kept(path, principal(dense, rank), rank, dense.norm())
}
/** The same of a product, without ever making it whole: up = Q·R and downᵀ = P·S leave R·Sᵀ, as small as the product's own rank. */
export function truncateProduct({ path, up, down }: LowRankUpdate, r: number): Truncated {
  const [left, right] = [orthogonal(up), orthogonal(down.transpose())]
  const core = left.r.mmul(right.r.transpose())
  const rank = Math.min(r, core.rows, core.columns)
  const { U, s, V } = principal(core, rank)
  return kept(path, { U: left.q.mmul(U), s, V: right.q.mmul(V) }, rank, core.norm())
}
function kept(
  path: string,
  { U, s, V }: { U: Matrix; s: readonly number[]; V: Matrix },
  rank: number,
  norm: number,
): Truncated {
  const up = Matrix.zeros(U.rows, rank)
  const down = Matrix.zeros(rank, V.rows)
  let held = 0
  for (let k = 0; k < rank; k++) {
    const root = Math.sqrt(s[k])
    held += s[k] ** 2
    for (let i = 0; i < U.rows; i++) up.set(i, k, root * U.get(i, k))
    for (let j = 0; j < V.rows; j++) down.set(k, j, root * V.get(j, k))
  }
  return {
    update: { path, up, down },
    error: norm === 0 ? 0 : Math.sqrt(Math.max(0, norm ** 2 - held)) / norm,
  }
}
/** Gram–Schmidt, twice for accuracy: m = q·r with orthonormal columns of q; columns that depend on others are zero in q. */
function orthogonal(m: Matrix): { q: Matrix; r: Matrix } {
  const q = m.clone()
  const r = Matrix.zeros(m.columns, m.columns)
  for (let k = 0; k < m.columns; k++) {
    const column = q.getColumn(k)
    const before = Math.hypot(...column)
    for (let pass = 0; pass < 2; pass++)
      for (let j = 0; j < k; j++) {
        const other = q.getColumn(j)
        const dot = other.reduce((sum, v, i) => sum + v * column[i], 0)
        r.set(j, k, r.get(j, k) + dot)
        column.forEach((v, i) => {
          column[i] = v - dot * other[i]
        })
      }
    const norm = Math.hypot(...column)
    const independent = norm > 1e-12 * before
    r.set(k, k, independent ? norm : 0)
    q.setColumn(k, independent ? column.map((v) => v / norm) : column.map(() => 0))
  }
  return { q, r }
}

/** Tokens of an adapter's own, and tables it brings, would be lost. */
export function refuseTables({ folder, ownsModel, options }: OpenedAdapter): void {
  const rows = [...(options.stored?.keys() ?? [])].some((key) => key.endsWith('trainable_tokens_delta'))
  if (ownsModel || rows)
    throw new GraftError(
      'NOT_LINEAR',
      `${folder}: the adapter holds rows of the embedding or output layer, which a low-rank update can't say. Merge it into its base (graft merge), or use it as it is.`,
    )
}
