import { GraftError, nearest } from '../errors.js'
import type { Model } from '../model/model.js'
import { belongsTo, endsWith } from '../model/paths.js'
import type { LinearSite } from '../model/site.js'
import { defaultTargets } from './default-targets.js'

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
  target_modules: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }], default: null },
  exclude_modules: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }], default: null },
  layers_to_transform: { anyOf: [{ type: 'array', items: { type: 'integer' } }, { type: 'integer' }, { type: 'null' }], default: null },
  layers_pattern: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'string' }, { type: 'null' }], default: null },
} as const

const allLinear = 'all-linear'

/** The linear layers a config chooses, in the model's order. Throws TARGET_NOT_FOUND with near misses when there are none;
 *  names that match nothing beside others that do are left as a notice on the model, as HF PEFT lets them pass. */
export function targets(model: Model, options: TargetOptions): LinearSite[] {
  const wanted = options.target_modules ?? architectureDefault(model)
  const found = model.linears.filter((s) => selects(model, wanted, s.path) && !excluded(options, s.path) && inLayers(options, s.path))
  const unmatched = Array.isArray(wanted) ? wanted.filter((name) => !model.linears.some((s) => endsWith(s.path, name))) : []
  if (found.length === 0) throw notFound(model, [wanted].flat())
  if (unmatched.length > 0) model.notices.push(notFound(model, unmatched).message)
  return found
}

function selects(model: Model, wanted: readonly string[] | string, path: string): boolean {
  if (wanted === allLinear) return path !== model.outputEmbedding?.path
  return typeof wanted === 'string' ? fullMatch(wanted, path) : wanted.some((name) => endsWith(path, name))
}
function excluded({ exclude_modules, modules_to_save }: TargetOptions, path: string): boolean {
  if (modules_to_save?.some((name) => belongsTo(path, name))) return true
  if (!exclude_modules) return false
  return typeof exclude_modules === 'string' ? fullMatch(exclude_modules, path) : exclude_modules.some((name) => endsWith(path, name))
}
function inLayers({ layers_to_transform, layers_pattern }: TargetOptions, path: string): boolean {
  if (layers_to_transform === null || layers_to_transform === undefined) return true
  const patterns = [layers_pattern ?? []].flat()
  const expressions = patterns.length > 0 ? patterns.map((p) => `\\.${p}\\.(\\d+)\\.`) : ['\\.[^.]*\\.(\\d+)\\.']
  const index = expressions.map((e) => `.${path}`.match(new RegExp(e))?.[1]).find((i) => i !== undefined)
  return index !== undefined && [layers_to_transform].flat().includes(Number(index))
}

/** Python's re.fullmatch. Throws BAD_PATTERN for what isn't a regular expression. */
export function fullMatch(pattern: string, path: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`).test(path)
  } catch (cause) {
    throw new GraftError('BAD_PATTERN', `"${pattern}" is not a regular expression: ${(cause as Error).message}. A list of module names may be what you want.`, { cause })
  }
}

function architectureDefault(model: Model): readonly string[] {
  const type = String(model.config.model_type ?? '')
  const names = defaultTargets[type]
  if (!names)
    throw new GraftError(
      'NO_DEFAULT_TARGETS',
      `There are no default target_modules for ${type ? `model_type ${type}` : 'a model without config.json'}. Name them: target_modules: ${suffixes(model).join(', ')} or all-linear.`,
    )
  return names
}

const suffixes = (model: Model): string[] => [...new Set(model.linears.map((s) => s.path.split('.').at(-1) as string))]

function notFound(model: Model, wanted: readonly string[]): GraftError {
  const known = suffixes(model)
  const close = wanted.map((w) => nearest(w.split('.').at(-1) as string, known)).filter(Boolean)
  return new GraftError(
    'TARGET_NOT_FOUND',
    `target_modules: ${wanted.join(', ')} matches no linear layer of ${model.file}. ${close.length > 0 ? `Did you mean ${close.join(', ')}? ` : ''}` +
      `Its linear layers end in: ${known.join(', ')}.`,
  )
}
