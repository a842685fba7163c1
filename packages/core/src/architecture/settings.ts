import { GraftError, nearest } from '../errors.js'

/** A model's config.json, read with checks: a wrong or missing key is an error that names file and key. */
export class Settings {
  constructor(
    private readonly values: Readonly<Record<string, unknown>>,
    readonly file: string,
    /** dotted path of a nested object, for messages */
    private readonly prefix = '',
  ) {}

  /** A positive whole number, under the first of these names that is there. Throws BAD_MODEL_CONFIG. */
  count(names: string | readonly string[], otherwise?: number): number {
    return this.read(
      names,
      otherwise,
      (v): v is number => Number.isSafeInteger(v) && (v as number) > 0 && (v as number) < 2 ** 31,
      'a positive whole number',
    )
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
  /** A list of texts of a given length, or undefined when there is none. */
  texts(name: string, length: number): readonly string[] | undefined {
    const value = this.values[name]
    if (value === undefined || value === null) return undefined
    if (!Array.isArray(value) || value.length !== length || !value.every((v) => typeof v === 'string'))
      throw this.wrong(name, `a list of ${length} texts`, value)
    return value
  }
  numbers(name: string, length: number): readonly number[] {
    const value = this.values[name]
    if (!Array.isArray(value) || value.length !== length || !value.every((v) => typeof v === 'number'))
      throw this.wrong(name, `a list of ${length} numbers`, value)
    return value
  }
  /** A nested object, or undefined. */
  nested(name: string): Settings | undefined {
    const value = this.values[name]
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'object' || Array.isArray(value)) throw this.wrong(name, 'an object', value)
    return new Settings(value as Record<string, unknown>, this.file, `${this.prefix}${name}.`)
  }
  has(name: string): boolean {
    return this.values[name] !== undefined && this.values[name] !== null
  }
  /** An error about one key. */
  wrong(name: string, expected: string, got: unknown): GraftError {
    return new GraftError(
      'BAD_MODEL_CONFIG',
      `${this.file}: ${this.prefix}${name} should be ${expected}, got ${JSON.stringify(got) ?? 'nothing'}.`,
    )
  }

  private read<T>(
    names: string | readonly string[],
    otherwise: T | undefined,
    fits: (v: unknown) => v is T,
    expected: string,
  ): T {
    const all = [names].flat()
    const name = all.find((n) => this.has(n))
    if (name === undefined) {
      if (otherwise !== undefined) return otherwise
      const close = nearest(all[0], Object.keys(this.values))
      throw new GraftError(
        'BAD_MODEL_CONFIG',
        `${this.file}: key ${this.prefix}${all[0]} (${expected}) is missing.${close ? ` There is ${this.prefix}${close}.` : ''}`,
      )
    }
    const value = this.values[name]
    if (!fits(value)) throw this.wrong(name, expected, value)
    return value
  }
}
