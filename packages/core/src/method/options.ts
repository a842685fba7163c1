import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js'
import { entryOf, GraftError, nearest } from '../errors.js'
import { shown } from '../files/json.js'
import type { PeftMethod } from './method.js'

/** One thing wrong in a configuration: the path of keys to it, and what is wrong. */
export interface Complaint {
  path: readonly string[]
  /** whether the key itself is at fault rather than its value */
  key: boolean
  message: string
}

const ajv = new Ajv2020({
  useDefaults: true,
  allErrors: true,
  strict: false,
  strictNumbers: true,
  verbose: true,
})

/** Checks a value against a JSON Schema, filling in defaults. Returns a completed copy, or what is wrong. */
export function validate<T>(schema: object, value: unknown): { value: T } | { complaints: Complaint[] } {
  const copy = structuredClone(value)
  const check = ajv.compile(schema)
  if (check(copy)) return { value: copy as T }
  return { complaints: withoutBranches(check.errors ?? []).map(complaint) }
}

/** A value that is of none of some kinds is one fault, said once, not one for each kind and one for all of them. */
function withoutBranches(errors: readonly ErrorObject[]): ErrorObject[] {
  const isKind = (error: ErrorObject, of: ErrorObject) =>
    error.keyword === 'type' &&
    error.schemaPath.startsWith(`${of.schemaPath}/`) &&
    error.instancePath === of.instancePath
  const choices = errors.filter(({ keyword }) => keyword === 'anyOf')
  const rest = errors.filter((error) => !choices.includes(error) && !choices.some((of) => isKind(error, of)))
  const noneOf = choices
    .filter((of) => !rest.some(({ schemaPath }) => schemaPath.startsWith(`${of.schemaPath}/`)))
    .map((of) => {
      const kinds = errors.filter((error) => isKind(error, of)).map(({ params }) => params.type)
      return { ...of, message: `must be ${kinds.join(' or ')}` }
    })
  return [...rest, ...noneOf]
}

/** What other tools call an option, and its names here; a training option may have been written beside `training`. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  rank: ['r', 'init_r'],
  lora_r: ['r'],
  alpha: ['lora_alpha', 'alpha', 'randlora_alpha'],
  dropout: ['lora_dropout', 'vera_dropout', 'miss_dropout', 'randlora_dropout'],
  targets: ['target_modules'],
  lora_target_modules: ['target_modules'],
  lr: ['learning_rate'],
  lr_scheduler_type: ['schedule'],
  num_train_epochs: ['epochs'],
  steps: ['max_steps'],
  num_steps: ['max_steps'],
  per_device_train_batch_size: ['batch_size'],
  micro_batch_size: ['batch_size'],
  gradient_accumulation_steps: ['gradient_accumulation'],
  batch: ['batch_size'],
}
const training = [
  'learning_rate',
  'schedule',
  'epochs',
  'batch_size',
  'gradient_accumulation',
  'max_steps',
  'warmup_steps',
]
function calledHere(key: string, known: readonly string[]): string | undefined {
  const names = entryOf(otherNames, key.toLowerCase()) ?? []
  const found = names.find((name) => known.includes(name))
  if (found || !known.includes('training')) return found
  const option = [...names, key].find((name) => training.includes(name))
  return option && `training.${option}`
}

function complaint(error: ErrorObject): Complaint {
  const path = error.instancePath.split('/').slice(1)
  if (error.keyword === 'additionalProperties') {
    const key = String(error.params.additionalProperty)
    const why = refusalOf(error.parentSchema, key)
    if (why) return { path: [...path, key], key: true, message: `${key} is refused: ${why}` }
    const known = Object.keys((error.parentSchema as { properties?: object } | undefined)?.properties ?? {})
    const close = calledHere(key, known) ?? nearest(key, known)
    return {
      path: [...path, key],
      key: true,
      message: `unknown key ${key}.${close ? ` Did you mean ${close}?` : ''} Known: ${known.join(', ')}`,
    }
  }
  if (error.keyword === 'required')
    return { path, key: true, message: `key ${error.params.missingProperty} is missing` }
  const got = error.data === undefined ? '' : `, got ${shown(error.data)}`
  if (error.keyword === 'enum')
    return {
      path,
      key: false,
      message: `expected one of ${(error.params.allowedValues as unknown[]).join(', ')}${got}`,
    }
  const why = (error.parentSchema as { why?: string } | undefined)?.why
  return { path, key: false, message: `${error.message}${got}${why ? `: ${why}` : ''}` }
}
/** Why a schema refuses an option that HF PEFT has; undefined for one that nobody knows. */
export const refusalOf = (schema: object | undefined, key: string): string | undefined =>
  (schema as { refused?: Record<string, string> } | undefined)?.refused?.[key]

/** Of some options those that a method has: a rank means nothing to prompts. */
export function knownOptions(
  { configSchema }: PeftMethod,
  options: Record<string, unknown>,
): Record<string, unknown> {
  const { properties } = configSchema as { properties: object }
  return Object.fromEntries(Object.entries(options).filter(([key]) => key in properties))
}

/**
 * What a config's options become where training begins: those it gives, and the method's own choices for those it leaves open, which are
 * told apart as `chosen`. `check` completes options, or throws.
 */
export function startingOptions(
  method: PeftMethod,
  given: Record<string, unknown>,
  check = (options: Record<string, unknown>) => methodOptions(method, options),
): { options: Record<string, unknown>; chosen: Record<string, unknown> } {
  const own = Object.entries(method.start?.(check(given)) ?? {}).filter(([key]) => !(key in given))
  const chosen = Object.fromEntries(own)
  return { options: check({ ...chosen, ...given }), chosen }
}
/** The learning rate of a config that names none. */
export const startingRate = ({ learningRate = 1e-3 }: PeftMethod): number => learningRate

/** A method's options, checked and completed. Throws BAD_METHOD_OPTION naming the option. */
export function methodOptions(method: PeftMethod, given: Record<string, unknown>): Record<string, unknown> {
  const result = validate<Record<string, unknown>>(method.configSchema, given)
  if ('value' in result) return result.value
  const [{ path, message }] = result.complaints
  throw new GraftError('BAD_METHOD_OPTION', `method ${method.name}: ${path.join('.')}: ${message}.`)
}
