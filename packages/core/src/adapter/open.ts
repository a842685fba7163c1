import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { adapt, type Adapted, type AdaptOptions } from '../compile/adapt.js'
import { planFrom, type PrecisionOptions } from '../compile/precision.js'
import type { Registry } from '../container.js'
import { type Growth, growth, tokensBeyond } from '../data/added-tokens.js'
import { saturates } from '../runtime/integers.js'
import { GraftError } from '../errors.js'
import type { PeftMethod } from '../method/method.js'
import type { Task } from '../architecture/architecture.js'
import { architectureOf, readModelConfig, taskOf } from '../architecture/open.js'
import { resolveModel } from '../hub/pull.js'
import { parseRepository } from '../hub/settings.js'
import { isCheckpoint } from '../model/open.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { classCount } from '../objective/objective.js'
import { type AdapterConfig, fillVariables, readAdapterConfig, readTensors, weightsFile } from './files.js'
import { fileKey, moduleKey } from '../method/keys.js'
import { keptParameters } from './kept.js'
import { baseFingerprint, hasManifest, type Manifest, readManifest } from './manifest.js'
import { optionsForUse } from './options.js'
import { refuseOwnTensors, standsIn, trainedObjective } from './trained-objective.js'
import type { StoredTensor } from '../files/safetensors.js'

/** An adapter folder with its base model, ready to be attached. */
export interface OpenedAdapter {
  folder: string
  model: Model
  /** whether the model holds embeddings or an output layer of the adapter's, so that no other adapter can share it */
  ownsModel: boolean
  options: Omit<AdaptOptions, 'training'>
  labels: string[]
  max_length: number | null
  columns: Record<string, string>
}

/**
 * Opens an adapter that Graft or HF PEFT wrote: a folder, or a repository's name. `model` says which base
 * model it belongs to, a path or a name; an adapter of Graft's knows its own, as does one whose base is named
 * by its name on the Hub. A base that was quantised for training is quantised again, unless its full
 * precision is asked for. With `as`, the adapter is attached under another objective and without the head it
 * was trained with. With `cache`, the model gets a key-value cache, for writing.
 *
 * @throws NO_ADAPTER, NO_BASE_MODEL, UNSUPPORTED_ADAPTER, OTHER_BASE for a base whose weights differ from those it was
 * trained on, and what pulling and opening the model throw.
 */
export async function openAdapter(
  given: string,
  registry: Registry,
  model?: string,
  { fullPrecision = false, as, cache }: { fullPrecision?: boolean; as?: string; cache?: boolean } = {},
): Promise<OpenedAdapter> {
  const folder = await resolveModel(given)
  const config = readAdapterConfig(folder)
  const manifest = hasManifest(folder) ? readManifest(folder) : undefined
  const method = methodFor(folder, config, registry)
  const path = model ? await resolveModel(model) : await baseOf(folder, config, manifest)
  const found = trainedObjective(
    folder,
    config,
    manifest,
    registry,
    manifest ? undefined : ownTask(path, registry),
  )
  const trained = found.objective
  const objective = as ? registry.get('objective', as) : trained
  const grown = growthOf(folder, path, config)
  // What the file doesn't name as trained is the base's own.
  const saved = savedModules(config, readTensors(folder))
  const all = as ? withoutModules(readTensors(folder), trained.savedModules) : readTensors(folder)
  const classes = as ? undefined : manifest ? classCount(objective, manifest.labels) : headOutputs(all)
  const open = (vocabulary?: number) =>
    openModel(path, {
      architectures: registry.all('architecture'),
      task: objective.task,
      labels: classes,
      vocabulary: vocabulary ?? grown?.vocabulary,
      tokens: grown?.tokens,
      cache: cache && !method.wholeTexts,
      brought: [...all.keys()],
      quantize: fullPrecision ? null : manifest?.quantize,
    })
  const plain = open()
  if (manifest?.base && manifest.base !== baseFingerprint(plain))
    throw new GraftError(
      'OTHER_BASE',
      `${folder}: the adapter was trained on ${manifest.model}, whose weights differ from those of ${plain.file}. Give the model it was trained on.`,
    )
  const labels = manifest?.labels ?? (objective.classifies ? labelsOf(all, plain) : [])
  const { options, notices } = optionsForUse(method, config)
  const modules_to_save = as ? saved.filter((name) => !trained.savedModules.includes(name)) : saved
  const attaching = {
    method,
    methodOptions: { ...options, modules_to_save },
    objective,
    labels: classCount(objective, labels),
    expectedRows: 1,
    totalSteps: 1,
    inference: true,
    ...(manifest?.precision ? await integersOf(manifest) : {}),
  }
  const declared = (base: Model) => declaredKeys(base, { ...attaching, stored: all })
  const { model: base, stored, replaced } = keptParameters(plain, all, open, declared)
  if (found.missing !== undefined && !as) refuseOwnTensors(folder, found, stored.keys(), declared(base))
  base.notices.push(...notices, ...(found.missing === undefined ? [] : [standsIn(found)]))
  return {
    folder,
    model: base,
    ownsModel: replaced || grown !== undefined,
    options: { ...attaching, stored },
    labels,
    max_length: manifest?.max_length ?? null,
    columns: manifest?.columns ?? {},
  }
}
/** The keys of what an adapter declares on a model. */
function declaredKeys(base: Model, options: OpenedAdapter['options']): Set<string> {
  const { variables, buffers } = adapt(base, { ...options, training: false })
  return new Set([...variables.list, ...buffers].map(fileKey))
}
/** An adapter that was trained with products in 8-bit integers is used with them: it knows their rounding. */
const integersOf = async ({ precision, integers }: Manifest): Promise<PrecisionOptions> => ({
  precision,
  integers: planFrom(integers ?? { float32: [], smoothing: {} }, (await saturates()) ? 63 : 127),
})
/** What an adapter with tokens of its own makes of its base: they are in its tokenizer, or at least among the rows that it trains. */
function growthOf(
  folder: string,
  base: string,
  config: AdapterConfig,
): Pick<Growth, 'vocabulary' | 'tokens'> | undefined {
  if (!isCheckpoint(base)) return undefined
  const tokens = tokensBeyond(folder, base)
  if (tokens.length > 0) return growth(base, tokens)
  const rows = 1 + Math.max(-1, ...trainedRows(config))
  const own = Number(readModelConfig(base).vocab_size)
  return rows > own ? { tokens, vocabulary: rows } : undefined
}
const trainedRows = ({ token_indices, trainable_token_indices: named }: AdapterConfig): number[] =>
  [token_indices, Array.isArray(named) ? named : Object.values(named ?? {})]
    .flat(2)
    .filter((id): id is number => Number.isSafeInteger(id))
/**
 * modules_to_save without the names that the file has nothing of: HF PEFT passes over what no module of a
 * model is called.
 */
function savedModules(config: AdapterConfig, tensors: ReadonlyMap<string, StoredTensor>): readonly string[] {
  const names = (config.modules_to_save as readonly string[] | null | undefined) ?? []
  const held = (name: string) => [...tensors.keys()].some((key) => key.includes(`${name}.`))
  return names.filter(held)
}
const withoutModules = (
  tensors: ReadonlyMap<string, StoredTensor>,
  names: readonly string[],
): Map<string, StoredTensor> =>
  new Map([...tensors].filter(([key]) => !key.split('.').some((part) => names.includes(part))))
/** How many classes the head that a file holds tells apart. */
function headOutputs(tensors: ReadonlyMap<string, StoredTensor>): number | undefined {
  const heads = ['score', 'classifier', 'classifier.out_proj'].map((name) =>
    tensors.get(moduleKey(`${name}.weight`)),
  )
  return heads.findLast((t) => t !== undefined)?.shape[0]
}
/** An opened adapter's parameters, in the order its variables were declared. */
export const parametersOf = ({ folder, options }: OpenedAdapter, adapted: Adapted): Float32Array =>
  fillVariables(join(folder, weightsFile), options.stored ?? new Map(), adapted)

/** The base model that an adapter records: where it lay when it was trained, else a folder or a repository. */
async function baseOf(
  folder: string,
  { base_model_name_or_path: base }: AdapterConfig,
  manifest: Manifest | undefined,
): Promise<string> {
  if (manifest && existsSync(manifest.model)) return manifest.model
  if (base && (existsSync(base) || parseRepository(base))) return resolveModel(base)
  throw new GraftError(
    'NO_BASE_MODEL',
    `${folder}: its base model ${(manifest?.model ?? base) ? `${manifest?.model ?? base} is not here` : 'is not recorded'}. Name it with --model.`,
  )
}
/** The base model of an adapter's folder. Throws NO_ADAPTER, NO_BASE_MODEL. */
export const baseModelOf = (folder: string): Promise<string> =>
  baseOf(folder, readAdapterConfig(folder), hasManifest(folder) ? readManifest(folder) : undefined)
/** What a Hugging Face folder's own head is for. */
function ownTask(path: string, registry: Registry): Task | undefined {
  if (!existsSync(path) || !isCheckpoint(path)) return undefined
  const config = readModelConfig(path)
  return taskOf(config, architectureOf(path, config, registry.all('architecture')))
}

export function methodFor(folder: string, { peft_type }: AdapterConfig, registry: Registry): PeftMethod {
  const method = registry.methodOfType(peft_type)
  if (method) return method
  const known = registry.all('method').map((m) => m.peftType)
  throw new GraftError(
    'UNSUPPORTED_ADAPTER',
    `${folder}: no installed method has peft_type ${peft_type}. Installed: ${known.join(', ')}. Name the package that brings it with --plugins.`,
  )
}
/** Labels of an adapter without a manifest: the model's own names where they fit, else numbers. */
function labelsOf(tensors: ReadonlyMap<string, StoredTensor>, model: Model): string[] {
  const count = headOutputs(tensors) ?? model.logitsShape.at(-1)
  const names = Object.values((model.config.id2label ?? {}) as Record<string, string>)
  return names.length === count ? names : Array.from({ length: Number(count) }, (_, i) => `${i}`)
}
