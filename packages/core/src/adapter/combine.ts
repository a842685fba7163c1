import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Matrix } from 'ml-matrix'
import type { Registry } from '../container.js'
import { GraftError, suggestion } from '../errors.js'
import type { LowRankUpdate, PeftMethod } from '../method/method.js'
import { denseUpdates, refuseTables, type Truncated, truncate, truncateProduct } from './dense.js'
import { type AdapterConfig, configFile, readAdapterConfig, saveAdapter, weightsFile } from './files.js'
import { fileKey, moduleKey } from '../method/keys.js'
import { hasManifest, readManifest, writeManifest } from './manifest.js'
import { type OpenedAdapter, openAdapter } from './open.js'
import { floatsOf, type StoredTensor, storedFloats } from '../files/safetensors.js'
import { blend } from './blend.js'
import { combineModes, type CombineOptions } from './blend.js'

/** What combining or converting wrote, and how far it is off. */
export interface LowRankReport {
  folder: string
  layers: number
  rank: number
  /** greatest ‖ΔW − result‖ / ‖ΔW‖ of any layer, where ΔW is what the mode asks for */
  error: number
  /** parameters trained in full, which were averaged by weight rather than added */
  averaged: readonly string[]
}

/** A weighted part of a combination. */
export interface WeightedAdapter {
  folder: string
  weight: number
}

/**
 * Adds adapters of one base up into a new one of the method that says low-rank updates.
 *
 * @throws NOTHING_TO_COMBINE for fewer than two, UNKNOWN_MODE, OUTPUT_EXISTS, OTHER_BASE, and what opening throws.
 */
export async function combine(
  parts: readonly WeightedAdapter[],
  output: string,
  registry: Registry,
  options: CombineOptions,
): Promise<LowRankReport> {
  refuseExisting(output)
  if (parts.length < 2) throw new GraftError('NOTHING_TO_COMBINE', 'Combining takes two adapters or more.')
  if (!combineModes.includes(options.mode))
    throw new GraftError('UNKNOWN_MODE', `mode: ${suggestion(options.mode, combineModes)}`)
  const opened: OpenedAdapter[] = []
  for (const { folder } of parts)
    opened.push(await openAdapter(folder, registry, options.model, { fullPrecision: true }))
  opened.forEach(refuseTables)
  requireOneBase(opened)
  const method = lowRankMethod(registry)
  const weights = parts.map((p) => p.weight)
  const results =
    options.mode === 'sum'
      ? summed(await exactUpdates(opened), weights, options.rank)
      : merged(await Promise.all(opened.map(denseUpdates)), weights, options, opened)
  return write(output, method, results, opened, weights)
}

/**
 * Turns an adapter of any method that merges into one that says low-rank updates.
 *
 * @throws NO_LOW_RANK_FORM, NOT_MERGEABLE, NOT_LINEAR, OUTPUT_EXISTS, and what opening throws.
 */
export async function convert(
  folder: string,
  output: string,
  registry: Registry,
  { to, rank, model }: { to: string; rank?: number; model?: string },
): Promise<LowRankReport> {
  refuseExisting(output)
  const method = registry.get('method', to)
  if (!method.lowRank)
    throw new GraftError(
      'NO_LOW_RANK_FORM',
      `method ${to} doesn't say low-rank updates; ${lowRankMethod(registry).name} does.`,
    )
  const opened = await openAdapter(folder, registry, model, { fullPrecision: true })
  refuseTables(opened)
  const exact = exactOf(opened)
  if (exact && rank === undefined)
    return write(
      output,
      method,
      exact.map((update) => ({ update, error: 0 })),
      [opened],
      [1],
    )
  const r = rank ?? defaultRank
  const results = exact
    ? exact.map((u) => truncateProduct(u, r))
    : [...(await denseUpdates(opened))].map(([path, dense]) => truncate(path, dense, r))
  return write(output, method, results, [opened], [1])
}
const defaultRank = 16

function refuseExisting(output: string): void {
  for (const name of [configFile, weightsFile])
    if (existsSync(join(output, name)))
      throw new GraftError(
        'OUTPUT_EXISTS',
        `${output} already holds an adapter. Choose another output, or remove it.`,
      )
}
function requireOneBase(opened: readonly OpenedAdapter[]): void {
  const [first, ...rest] = opened
  for (const other of rest)
    if (other.model.path !== first.model.path)
      throw new GraftError(
        'OTHER_BASE',
        `${other.folder} belongs to ${other.model.path}, ${first.folder} to ${first.model.path}; only adapters of one base add up. Name it with --model if it is the same.`,
      )
}
function lowRankMethod(registry: Registry): PeftMethod {
  const found = registry.all('method').find((m) => m.lowRank)
  if (!found) throw new GraftError('NO_LOW_RANK_FORM', 'No installed method says low-rank updates.')
  return found
}

/** An adapter's updates as its own file says them; undefined where it says more. */
const exactOf = ({ options }: OpenedAdapter): LowRankUpdate[] | undefined =>
  options.method.lowRank?.read(options.stored ?? new Map(), options.methodOptions)

/** Each adapter's updates: as its file says them, or of full rank where its method has another form. */
async function exactUpdates(opened: readonly OpenedAdapter[]): Promise<LowRankUpdate[][]> {
  const all: LowRankUpdate[][] = []
  for (const adapter of opened)
    all.push(
      exactOf(adapter) ??
        [...(await denseUpdates(adapter))].map(
          ([path, dense]) => truncate(path, dense, Math.min(dense.rows, dense.columns)).update,
        ),
    )
  return all
}

/** Σ wᵢ·upᵢ·downᵢ = [w₁·up₁ w₂·up₂ …]·[down₁; down₂; …] */
function summed(
  parts: readonly (readonly LowRankUpdate[])[],
  weights: readonly number[],
  rank: number | undefined,
): Truncated[] {
  const paths = [...new Set(parts.flatMap((p) => p.map((u) => u.path)))]
  return paths.map((path) => {
    const own = parts.flatMap((p, i) =>
      p.filter((u) => u.path === path).map(({ up, down }) => ({ up: Matrix.mul(up, weights[i]), down })),
    )
    const down = own.flatMap((u) => u.down.to2DArray())
    const up = own.map((u) => u.up).reduce((a, b) => beside(a, b))
    const update = { path, up, down: new Matrix(down) }
    return rank !== undefined && rank < update.down.rows
      ? truncateProduct(update, rank)
      : { update, error: 0 }
  })
}
function beside(a: Matrix, b: Matrix): Matrix {
  const joined = Matrix.zeros(a.rows, a.columns + b.columns)
  joined.setSubMatrix(a, 0, 0)
  joined.setSubMatrix(b, 0, a.columns)
  return joined
}

function merged(
  parts: readonly ReadonlyMap<string, Matrix>[],
  weights: readonly number[],
  options: CombineOptions,
  opened: readonly OpenedAdapter[],
): Truncated[] {
  const rank =
    options.rank ?? opened.reduce((sum, { options: o }) => sum + Number(o.methodOptions.r ?? defaultRank), 0)
  const paths = [...new Set(parts.flatMap((p) => [...p.keys()]))]
  return paths.map((path) => {
    const dense = parts.flatMap((p, i) => {
      const update = p.get(path)
      return update
        ? [{ values: Float64Array.from(update.to1DArray()), weight: weights[i], stream: `${path}/${i}` }]
        : []
    })
    const [{ rows, columns }] = parts.flatMap((p) => p.get(path) ?? [])
    return truncate(path, Matrix.from1DArray(rows, columns, Array.from(blend(dense, options))), rank)
  })
}

/** Writes the result with the first part's other settings; modules trained in full are averaged by weight. */
function write(
  output: string,
  method: PeftMethod,
  results: readonly Truncated[],
  opened: readonly OpenedAdapter[],
  weights: readonly number[],
): LowRankReport {
  const form = method.lowRank as NonNullable<PeftMethod['lowRank']>
  const { tensors, options } = form.write(results.map((r) => r.update))
  const [first] = opened
  const config: AdapterConfig = {
    ...defaultsOf(method),
    ...options,
    ...carried(readAdapterConfig(first.folder)),
    peft_type: method.peftType,
    inference_mode: true,
  }
  const heads = averaged(opened, weights)
  requireFinite([...tensors, ...heads])
  saveAdapter(output, new Map([...tensors, ...heads]), config)
  if (hasManifest(first.folder))
    writeManifest(output, {
      ...readManifest(first.folder),
      model: first.model.path,
      method: method.name,
      options: { ...defaultsOf(method), ...options },
    })
  return {
    folder: output,
    layers: results.length,
    rank: Math.max(...results.map((r) => r.update.down.rows)),
    error: Math.max(...results.map((r) => r.error)),
    averaged: opened.length > 1 ? heads.map(([key]) => key.slice(moduleKey('').length)) : [],
  }
}
function requireFinite(tensors: readonly [string, StoredTensor][]): void {
  for (const [key, tensor] of tensors)
    if (!floatsOf(tensor, key).every(Number.isFinite))
      throw new GraftError(
        'NOT_FINITE',
        `${key} would hold numbers that are not finite; an adapter is damaged, or its training diverged. Nothing was written.`,
      )
}
const carried = ({ base_model_name_or_path, task_type, modules_to_save }: AdapterConfig) => ({
  base_model_name_or_path,
  task_type,
  modules_to_save,
})
const defaultsOf = ({ configSchema, ownOptions }: PeftMethod): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries((configSchema as { properties: Record<string, { default?: unknown }> }).properties)
      .filter(([key]) => !ownOptions?.includes(key))
      .map(([key, { default: value }]) => [key, value ?? null]),
  )

function averaged(opened: readonly OpenedAdapter[], weights: readonly number[]): [string, StoredTensor][] {
  const heads = opened.map(({ options }) =>
    headTensors(
      options.stored ?? new Map(),
      options.methodOptions.modules_to_save as readonly string[] | null,
      options.objective.savedModules,
    ),
  )
  const keys = [...new Set(heads.flatMap((h) => [...h.keys()]))]
  return keys.map((key) => {
    const own = heads.flatMap((h, i) =>
      h.has(key) ? [{ tensor: h.get(key) as StoredTensor, weight: weights[i] }] : [],
    )
    const { shape } = own[0].tensor
    if (own.some((o) => `${o.tensor.shape}` !== `${shape}`))
      throw new GraftError(
        'ADAPTER_MISMATCH',
        `${key} has shapes ${own.map((o) => `[${o.tensor.shape}]`).join(' and ')}; adapters with different labels don't add up.`,
      )
    const shares = sharesOf(
      own.map((o) => o.weight),
      key,
    )
    const values = own
      .map((o, i) => floatsOf(o.tensor, key).map((v) => v * shares[i]))
      .reduce((a, b) => a.map((v, i) => v + b[i]))
    return [key, storedFloats(values, shape)]
  })
}
/**
 * Shares of a mean. A head trained in full has no difference to add up: with a weight below zero, or none
 * above, there is no mean.
 */
function sharesOf(weights: readonly number[], key: string): number[] {
  const total = weights.reduce((a, b) => a + b, 0)
  if (weights.every((w) => w >= 0) && total > 0) return weights.map((w) => w / total)
  throw new GraftError(
    'NO_MEAN',
    `${key} was trained in full, so the adapters' are averaged by weight; ${weights.join(' and ')} make no average. Give weights of 0 or more, or adapters without modules_to_save.`,
  )
}
function headTensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  saved: readonly string[] | null,
  otherwise: readonly string[],
): Map<string, StoredTensor> {
  const names = saved ?? otherwise
  return new Map(
    [...tensors].filter(([key]) =>
      names.some(
        (n) =>
          new RegExp(`(^|\\.)${n}(\\.[\\w.]+)?\\.(weight|bias)$`).test(key) &&
          !/lora_/.test(key) &&
          key.startsWith(fileKey({ name: '' })),
      ),
    ),
  )
}
