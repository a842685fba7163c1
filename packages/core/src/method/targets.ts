import { GraftError, nearest } from '../errors.js'
import type { Model } from '../model/model.js'
import { belongsTo, endsWith } from '../model/paths.js'
import type { LinearSite, Site } from '../model/site.js'
import { defaultTargets } from './default-targets.js'
import { fullMatch } from './regular-expression.js'

/** HF PEFT's options that choose modules, with its meaning (tuners_utils.py, `check_target_module_exists`). */
export interface TargetOptions {
  /** names or path ends; one string: a regular expression over the whole path; "all-linear"; null: the architecture's default */
  target_modules?: readonly string[] | string | null
  exclude_modules?: readonly string[] | string | null
  layers_to_transform?: readonly number[] | number | null
  layers_pattern?: readonly string[] | string | null
  modules_to_save?: readonly string[] | null
}
/** The part of a method's JSON Schema that goes with TargetOptions. */
export const targetSchema = {
  target_modules: {
    anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }],
    default: null,
  },
  exclude_modules: {
    anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }],
    default: null,
  },
  layers_to_transform: {
    anyOf: [{ type: 'array', items: { type: 'integer' } }, { type: 'integer' }, { type: 'null' }],
    default: null,
  },
  layers_pattern: {
    anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }],
    default: null,
  },
} as const

const allLinear = 'all-linear'

/** Which modules a method can adapt, and what it adapts when the config doesn't say. */
export interface TargetKinds<S extends Site> {
  /** the modules to choose from; all linear layers when left out */
  among: readonly S[]
  /** target_modules by config.json's model_type */
  defaults?: Readonly<Record<string, readonly string[]>>
}

/**
 * The modules a config chooses, in the model's order.
 *
 * @throws TARGET_NOT_FOUND with near misses when there are none; names that match nothing beside others that
 * do are left as a notice on the model, as HF PEFT lets them pass.
 */
export function targets<S extends Site = LinearSite>(
  model: Model,
  options: TargetOptions,
  kinds: TargetKinds<S> = { among: model.linears as unknown as S[] },
): S[] {
  const { among, defaults = defaultTargets } = kinds
  const wanted = options.target_modules ?? architectureDefault(model, among, defaults)
  const found = among.filter(
    (s) => selects(model, wanted, s) && !excluded(options, s.path) && inLayers(options, s.path),
  )
  const unmatched =
    Array.isArray(options.target_modules) && Array.isArray(wanted)
      ? wanted.filter((name) => !among.some((s) => endsWith(s.path, name)))
      : []
  if (found.length === 0) throw notFound(model, among, [wanted].flat())
  if (unmatched.length > 0) model.notices.push(notFound(model, among, unmatched).message)
  const others = model.sites.filter(
    (s) => !found.some((f) => f.path === s.path) && selects(model, wanted, s) && !excluded(options, s.path),
  )
  // HF PEFT would adapt those that only the names reach; a file that says what was done lists the modules.
  const chosen = new Set([...(model.targeted?.paths ?? []), ...found.map((s) => s.path)])
  model.targeted = {
    paths: [...chosen],
    names: wanted === allLinear || others.some((s) => inLayers(options, s.path)) ? undefined : wanted,
  }
  return found
}
/** Whether one of these names (path ends), or a regular expression over the whole path, names a module. */
export const named = (chosen: readonly string[] | string, path: string): boolean =>
  typeof chosen === 'string' ? fullMatch(chosen, path) : chosen.some((name) => endsWith(path, name))

function selects(model: Model, wanted: readonly string[] | string, { path, kind }: Site): boolean {
  if (wanted === allLinear) return kind === 'linear' && path !== model.outputEmbedding?.path
  return named(wanted, path)
}
function excluded({ exclude_modules, modules_to_save }: TargetOptions, path: string): boolean {
  if (modules_to_save?.some((name) => belongsTo(path, name))) return true
  if (!exclude_modules) return false
  return named(exclude_modules, path)
}
function inLayers({ layers_to_transform, layers_pattern }: TargetOptions, path: string): boolean {
  const layers = [layers_to_transform ?? []].flat()
  if (layers.length === 0) return true
  const patterns = [layers_pattern ?? []].flat()
  const expressions =
    patterns.length > 0 ? patterns.map((p) => `\\.${p}\\.(\\d+)\\.`) : ['\\.[^.]*\\.(\\d+)\\.']
  const index = expressions.map((e) => `.${path}`.match(new RegExp(e))?.[1]).find((i) => i !== undefined)
  return index !== undefined && layers.includes(Number(index))
}

function architectureDefault(
  model: Model,
  among: readonly Site[],
  defaults: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  const type = String(model.config.model_type ?? '')
  const known = defaults[type]
  if (!known)
    throw new GraftError(
      'NO_DEFAULT_TARGETS',
      `There are no default target_modules for ${type ? `model_type ${type}` : 'a model without config.json'}. Name them: target_modules: ${suffixes(among).join(', ')}, or all-linear.`,
    )
  return known
}

const suffixes = (among: readonly Site[]): string[] => [
  ...new Set(among.map((s) => s.path.split('.').at(-1) as string)),
]

function notFound(model: Model, among: readonly Site[], wanted: readonly string[]): GraftError {
  const known = suffixes(among)
  const what = among.every((s) => s.kind === 'linear') ? 'linear layer' : 'module'
  const close = wanted.map((w) => nearest(w.split('.').at(-1) as string, known)).filter(Boolean)
  return new GraftError(
    'TARGET_NOT_FOUND',
    `target_modules: ${wanted.join(', ')} matches no ${what} of ${model.file}. ${close.length > 0 ? `Did you mean ${close.join(', ')}? ` : ''}` +
      `Its ${what}s end in: ${known.join(', ')}.`,
  )
}
