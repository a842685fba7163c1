import { GraftError } from '../errors.js'
import type { Notice } from './records.js'

/** Where the classes of a classifier come from, and their names in order: a class's number is its place. */
export interface LabelSources {
  /** names that the data holds */
  found: ReadonlySet<string>
  /** names that the config gives (data.labels) */
  given: readonly string[] | null
  /** names of the checkpoint's own head (id2label), where it has one for this objective */
  stored: readonly string[] | undefined
}

/**
 * The classes in order. The config's own list goes first, then the checkpoint's, whose head has its rows in that order; else numbers in the
 * order of numbers and names in that of the alphabet, so that a class's number doesn't depend on the order of the data.
 * Throws UNKNOWN_LABEL, AMBIGUOUS_LABEL.
 */
export function orderedLabels({ found, given, stored }: LabelSources, notice: Notice): string[] {
  const names = [...found]
  warnOfTwins(names, notice)
  if (given) return fromConfig(names, given)
  const own = stored && fromCheckpoint(names, stored, notice)
  if (own) return own
  return names.every(isNumber) ? names.sort((a, b) => Number(a) - Number(b)) : names.sort()
}

const isNumber = (name: string): boolean => /^-?\d+(\.\d+)?$/.test(name)
const isIndex = (name: string, count: number): boolean => /^\d+$/.test(name) && Number(name) < count
/** transformers' names for classes that have none. */
const isGeneric = (names: readonly string[]): boolean => names.every((name, i) => name === `LABEL_${i}`)
const folded = (name: string): string => name.trim().toLowerCase().replace(/\s+/g, ' ')

function warnOfTwins(names: readonly string[], notice: Notice): void {
  const groups = new Map<string, string[]>()
  for (const name of names) groups.set(folded(name), [...(groups.get(folded(name)) ?? []), name])
  for (const twins of groups.values())
    if (twins.length > 1)
      notice(
        `Labels ${twins.map((t) => JSON.stringify(t)).join(' and ')} differ by case or blanks alone; they are learnt as ${twins.length} classes.`,
      )
}

function fromConfig(names: readonly string[], given: readonly string[]): string[] {
  const foreign = names.filter((name) => !given.includes(name) && !isIndex(name, given.length))
  if (foreign.length > 0)
    throw new GraftError(
      'UNKNOWN_LABEL',
      `data.labels doesn't name ${listed(foreign)}, which the data holds. Add it to the list, or mend the data.`,
    )
  return [...given]
}

function fromCheckpoint(
  names: readonly string[],
  stored: readonly string[],
  notice: Notice,
): string[] | undefined {
  if (names.every((name) => stored.includes(name))) return [...stored]
  const numbered = names.every((name) => isIndex(name, stored.length))
  if (numbered && isGeneric(stored)) return stored.map((_, i) => `${i}`)
  if (numbered) {
    requireRowsOf(names, stored)
    notice(
      `The data's labels are numbers; they are taken for the checkpoint's 0 ${stored[0]}, 1 ${stored[1]}, ….`,
    )
    return [...stored]
  }
  const known = new Set(stored.map(folded))
  if (names.every((name) => known.has(folded(name))))
    throw new GraftError(
      'AMBIGUOUS_LABEL',
      `The data's labels (${listed(names)}) and the checkpoint's (${listed(stored)}) differ by case or blanks alone. Write them as the checkpoint does, or give data.labels in the order you want.`,
    )
  notice(
    names.length === stored.length && !isGeneric(stored)
      ? `The data's labels (${listed(names)}) are not the checkpoint's (${listed(stored)}); its head is taken for them in alphabetical order. data.labels gives another order.`
      : `The data has ${names.length} labels, the checkpoint's head ${stored.length}${isGeneric(stored) ? ' without names' : ' others'}: ${names.length === stored.length ? 'they are assigned in alphabetical order (data.labels gives another)' : 'the head is new and starts at random'}.`,
  )
  return undefined
}

/**
 * Numbers are rows of the checkpoint's head, as in transformers, unless they are the first few and no more: then they
 * may as well be the classes of another task. Throws AMBIGUOUS_LABEL.
 */
function requireRowsOf(numbers: readonly string[], stored: readonly string[]): void {
  const count = numbers.length
  if (count === stored.length || numbers.some((n) => Number(n) >= count)) return
  throw new GraftError(
    'AMBIGUOUS_LABEL',
    `The data's labels are the numbers 0 to ${count - 1}, the checkpoint's head has ${stored.length} classes (${listed(stored)}): they may be its first ${count}, or classes of their own. Say which with data.labels: the head's names in their order, or ["0", "1", …] for a new head.`,
  )
}

const listed = (names: readonly string[]): string =>
  names.length > 8 ? `${names.slice(0, 8).join(', ')} and ${names.length - 8} more` : names.join(', ')

/** A class's number: by its name, or for numbered data by the number itself. */
export function labelNumber(name: string, labels: readonly string[]): number | undefined {
  const index = labels.indexOf(name)
  if (index >= 0) return index
  return isIndex(name, labels.length) && !labels.some(isNumber) ? Number(name) : undefined
}
