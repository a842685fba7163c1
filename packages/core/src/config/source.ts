import { existsSync, readdirSync, statSync } from 'node:fs'
import { LineCounter, isMap, isNode, isScalar, parse, parseDocument, type Document } from 'yaml'
import { GraftError } from '../errors.js'
import { readText, shown } from '../files/json.js'
import { type Complaint, validate } from '../method/options.js'

function configsIn(folder: string): string {
  const names = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name))
  return names.length > 0 ? ` It holds ${names.join(', ')}.` : ''
}

/** Throws for what a YAML file can say and no config does: lists in lists without end, and what holds itself. */
function requireTree(value: unknown, depth = 0): void {
  if (depth > 50) throw new Error('nested more than 50 deep, or an anchor that holds itself')
  if (typeof value !== 'object' || value === null) return
  for (const inner of Object.values(value)) requireTree(inner, depth + 1)
}

/** key=value, the value as YAML reads it. Throws BAD_OVERRIDE. */
export function keyValue(
  kind: 'Override' | 'Option',
  text: string,
  example: string,
): [key: string, value: unknown] {
  const [, key, value] = text.match(/^([\w.-]+)=(.*)$/s) ?? []
  if (!key) throw new GraftError('BAD_OVERRIDE', `${kind} ${shown(text)} is not key=value, as in ${example}.`)
  try {
    const given: unknown = parse(value, { maxAliasCount: 100 })
    requireTree(given)
    return [key, given]
  } catch (cause) {
    throw badOverride(kind, text, cause)
  }
}
const badOverride = (kind: string, text: string, cause: unknown): GraftError =>
  new GraftError('BAD_OVERRIDE', `${kind} ${shown(text)}: ${(cause as Error).message}.`, { cause })

/** A YAML file that knows where each of its keys stands. Reading it throws CONFIG_NOT_FOUND or BAD_YAML. */
export class ConfigSource {
  readonly document: Document
  private readonly lines = new LineCounter()
  private readonly overridden = new Map<string, string>()

  constructor(readonly path: string) {
    if (!existsSync(path)) throw new GraftError('CONFIG_NOT_FOUND', `${path}: no such config file.`)
    if (statSync(path).isDirectory())
      throw new GraftError(
        'CONFIG_NOT_FOUND',
        `${path}: a folder; a config is a YAML file.${configsIn(path)}`,
      )
    this.document = parseDocument(readText(path), { lineCounter: this.lines })
    const [error] = this.document.errors
    if (error) throw new GraftError('BAD_YAML', `${path}: ${error.message}`)
  }

  /**
   * All that the file and its overrides say. Throws BAD_YAML for what has no such form: an anchor that isn't
   * there or holds itself, a tower of aliases.
   */
  contents(): unknown {
    try {
      const value: unknown = this.document.toJS({ maxAliasCount: 100 }) ?? {}
      requireTree(value)
      return value
    } catch (cause) {
      throw new GraftError('BAD_YAML', `${this.path}: ${(cause as Error).message}.`, { cause })
    }
  }

  /** Sets a key from `key=value`, dotted, the value as YAML reads it. Throws BAD_OVERRIDE. */
  override(text: string): void {
    const [key, given] = keyValue('Override', text, 'training.epochs=5')
    const path = key.split('.')
    const parent = path.slice(0, -1)
    try {
      if (parent.length > 0 && isScalar(this.document.getIn(parent, true)))
        this.document.setIn(parent, this.document.createNode({ name: this.document.getIn(parent) }))
      this.document.setIn(path, given)
    } catch (cause) {
      throw badOverride('Override', text, cause)
    }
    this.overridden.set(key, text)
  }

  /**
   * A value of this file, standing under `prefix`, checked and completed. Throws BAD_CONFIG with file, line
   * and column of each fault.
   */
  check<T>(schema: object, value: unknown, prefix: readonly string[]): T {
    const result = validate<T>(schema, value)
    if ('value' in result) return result.value
    const faults = result.complaints.map(
      (c) =>
        `${this.position([...prefix, ...c.path], c)} ${[...prefix, ...c.path].join('.') || 'the config'}: ${c.message}.`,
    )
    throw new GraftError('BAD_CONFIG', [...new Set(faults)].slice(0, 5).join('\n'))
  }

  /** Where a key stands, to begin a message with: "file:line:column:". */
  position(path: readonly string[], { key }: Pick<Complaint, 'key'> = { key: false }): string {
    const override = this.overridden.get(path.join('.'))
    if (override) return `override ${override}:`
    const offset = (key ? this.keyOffset(path) : undefined) ?? this.valueOffset(path)
    const { line, col } = this.lines.linePos(offset)
    return `${this.path}:${line}:${col}:`
  }
  private valueOffset(path: readonly string[]): number {
    for (let depth = path.length; depth >= 0; depth--) {
      const node = depth === 0 ? this.document.contents : this.document.getIn(path.slice(0, depth), true)
      if (isNode(node) && node.range) return node.range[0]
    }
    return 0
  }
  private keyOffset(path: readonly string[]): number | undefined {
    const parent = path.length > 1 ? this.document.getIn(path.slice(0, -1), true) : this.document.contents
    const pair = isMap(parent)
      ? parent.items.find((p) => isScalar(p.key) && p.key.value === path.at(-1))
      : undefined
    return isScalar(pair?.key) ? pair.key.range?.[0] : undefined
  }
}
