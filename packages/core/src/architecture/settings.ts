import { GraftError, nearest } from '../errors.js'
import { shown } from '../files/json.js'
import { type Fields, isHarmless } from './harmless.js'

/** No model has more: a graph of a billion layers or heads would be built until memory ends. */
const limits: readonly [RegExp, number][] = [
  [/layers?$/, 1024],
  [/heads?$/, 4096],
  [/(head|rotary)_dim$/, 2 ** 14],
  [/distance$|buckets$/, 2 ** 20],
  [/(size|dim|width|inner|embd|d_\w+|ffn)$/, 2 ** 24],
]
const greatest = (name: string): number => limits.find(([pattern]) => pattern.test(name))?.[1] ?? 2 ** 31 - 1

/**
 * A model's config.json, read with checks: a wrong or missing key is an error that names file and key. A key that the file leaves out
 * has the default of transformers' config class. What is read is kept note of, so that no other key goes unheeded.
 */
export class Settings {
  constructor(
    private readonly values: Readonly<Record<string, unknown>>,
    readonly file: string,
    /** what transformers' config class gives a key that the file leaves out */
    private readonly defaults: Fields = {},
    /** dotted path of a nested object, for messages */
    private readonly prefix = '',
    private readonly heeded: Map<string, Settings | true> = new Map(),
  ) {}

  /**
   * A positive whole number, under the first of these names that is there.
   *
   * @throws BAD_MODEL_CONFIG.
   */
  count(names: string | readonly string[], otherwise?: number): number {
    const count = this.read(
      names,
      otherwise,
      (v): v is number => Number.isSafeInteger(v) && (v as number) > 0,
      'a positive whole number',
    )
    const [name] = [names].flat()
    if (count > greatest(name)) throw this.wrong(name, `at most ${greatest(name)}`, count)
    return count
  }
  number(names: string | readonly string[], otherwise?: number): number {
    return this.read(
      names,
      otherwise,
      (v): v is number => typeof v === 'number' && Number.isFinite(v),
      'a number',
    )
  }
  flag(names: string | readonly string[], otherwise?: boolean): boolean {
    return this.read(names, otherwise, (v): v is boolean => typeof v === 'boolean', 'true or false')
  }
  text(names: string | readonly string[], otherwise?: string): string {
    return this.read(names, otherwise, (v): v is string => typeof v === 'string', 'a text')
  }
  /** A whole number, as of a token or a layer; negative ones have meanings of their own. */
  whole(names: string | readonly string[], otherwise?: number): number {
    return this.read(names, otherwise, (v): v is number => Number.isSafeInteger(v), 'a whole number')
  }
  /** A number where the key is there and not null. */
  optional(name: string): number | undefined {
    this.heeded.set(name, true)
    return this.has(name) ? this.number(name) : undefined
  }
  /** A positive whole number where the key is there and not null. */
  optionalCount(name: string): number | undefined {
    this.heeded.set(name, true)
    return this.has(name) ? this.count(name) : undefined
  }
  /** A list of texts of a given length, or undefined when there is none. */
  texts(name: string, length: number): readonly string[] | undefined {
    return this.list(name, length, 'texts', (v): v is string => typeof v === 'string')
  }
  /** Texts of a list, or of one text between bars; none where the key isn't there. */
  words(name: string): readonly string[] {
    this.heeded.set(name, true)
    const value = this.value(name) ?? []
    const all: unknown[] = typeof value === 'string' ? value.split('|') : [value].flat()
    if (!all.every((v) => typeof v === 'string')) throw this.wrong(name, 'texts', value)
    return all.map((v) => v.trim()).filter(Boolean)
  }
  /** A list of numbers of a given length, or undefined when there is none. */
  numbersOf(name: string, length: number): readonly number[] | undefined {
    return this.list(name, length, 'numbers', (v): v is number => typeof v === 'number')
  }
  numbers(name: string, length: number): readonly number[] {
    const found = this.numbersOf(name, length)
    if (!found) throw this.wrong(name, `a list of ${length} numbers`, undefined)
    return found
  }
  private list<T>(name: string, length: number, what: string, fits: (v: unknown) => v is T): T[] | undefined {
    this.heeded.set(name, true)
    const value = this.value(name)
    if (value === undefined || value === null) return undefined
    if (!Array.isArray(value) || value.length !== length || !value.every(fits))
      throw this.wrong(name, `a list of ${length} ${what}`, value)
    return value
  }
  /** A list of whatever there is, or undefined; the caller checks what is in it. */
  lists(name: string): readonly unknown[] | undefined {
    this.heeded.set(name, true)
    const value = this.value(name)
    if (value === undefined || value === null) return undefined
    if (!Array.isArray(value)) throw this.wrong(name, 'a list', value)
    return value
  }
  /** A nested object, or undefined; `fields` are the defaults of its class, where that isn't always the same. */
  nested(name: string, fields?: Fields): Settings | undefined {
    const known = this.heeded.get(name)
    if (known instanceof Settings && !fields) return known
    this.heeded.set(name, true)
    const value = this.value(name)
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'object' || Array.isArray(value)) throw this.wrong(name, 'an object', value)
    const defaults = fields ?? this.defaults[name]
    const own = new Settings(
      value as Record<string, unknown>,
      this.file,
      typeof defaults === 'object' ? ((defaults ?? {}) as Fields) : {},
      `${this.prefix}${name}.`,
    )
    this.heeded.set(name, own)
    return own
  }
  /** Says that a key is understood where a model's shape leaves nothing to read it for. */
  heed(name: string): void {
    if (!this.heeded.has(name)) this.heeded.set(name, true)
  }
  /** The same, but for what another part of the file decides. */
  with(values: Fields): Settings {
    return new Settings({ ...this.values, ...values }, this.file, this.defaults, this.prefix, this.heeded)
  }
  /** Whether the key is there and not null, in the file or by transformers' default. */
  has(name: string): boolean {
    return this.value(name) !== undefined && this.value(name) !== null
  }
  /** The keys that the file itself has. */
  get keys(): string[] {
    return Object.keys(this.values)
  }
  /** Whether the file itself has the key. */
  says(name: string): boolean {
    return this.values[name] !== undefined
  }
  /** An error about one key. */
  wrong(name: string, expected: string, got: unknown): GraftError {
    return new GraftError(
      'BAD_MODEL_CONFIG',
      `${this.file}: ${this.prefix}${name} should be ${expected}, got ${shown(got)}.`,
    )
  }

  /** Keys that nothing has read and whose values may mean something, by their dotted paths. */
  unheeded(ignored: readonly string[] = []): { key: string; value: unknown; harmless: unknown }[] {
    return Object.entries(this.values).flatMap(([key, value]) => {
      const read = this.heeded.get(key)
      if (read instanceof Settings) return read.unheeded(ignored)
      const path = `${this.prefix}${key}`
      const harmless = this.defaults[key]
      const fine = read || ignored.includes(path) || ignored.includes(key) || isHarmless(path, value)
      return fine || same(value, harmless) ? [] : [{ key: path, value, harmless }]
    })
  }
  /** Every key that has been read, or that transformers' class has. */
  get known(): string[] {
    return [...new Set([...this.heeded.keys(), ...Object.keys(this.defaults)])]
  }

  private value(name: string): unknown {
    return name in this.values ? this.values[name] : this.defaults[name]
  }
  private read<T>(
    names: string | readonly string[],
    otherwise: T | undefined,
    fits: (v: unknown) => v is T,
    expected: string,
  ): T {
    const all = [names].flat()
    for (const n of all) this.heeded.set(n, true)
    const name = all.find((n) => this.says(n) && this.has(n)) ?? all.find((n) => this.has(n))
    if (name === undefined) {
      if (otherwise !== undefined) return otherwise
      const close = nearest(all[0], Object.keys(this.values))
      throw new GraftError(
        'BAD_MODEL_CONFIG',
        `${this.file}: key ${this.prefix}${all[0]} (${expected}) is missing.${close ? ` There is ${this.prefix}${close}.` : ''}`,
      )
    }
    const value = this.value(name)
    if (!fits(value)) throw this.wrong(name, expected, value)
    return value
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
