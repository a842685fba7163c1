import { GraftError } from '@graft-peft/onnx'

export { GraftError }

/** What a table holds under a name from outside; what every object has by birth (constructor, toString) is none of it. */
export const entryOf = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined

/** Letters to change to get from a to b. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + Number(a[i - 1] !== b[j - 1]))
    previous = row
  }
  return previous[b.length]
}

/** The candidate that a misspelt name most likely means, if any is close. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: { candidate: string; far: number } | undefined
  for (const candidate of candidates) {
    const far = distance(name.toLowerCase(), candidate.toLowerCase())
    if (!best || far < best.far) best = { candidate, far }
  }
  return best && best.far <= Math.max(2, Math.floor(name.length / 3)) ? best.candidate : undefined
}

/** "Did you mean x? Known: a, b, c." — at most twenty names. */
export function suggestion(name: string, candidates: readonly string[]): string {
  const close = nearest(name, candidates)
  const shown =
    candidates.length > 20 ? [...candidates.slice(0, 20), `and ${candidates.length - 20} more`] : candidates
  return `${close ? `Did you mean ${close}? ` : ''}Known: ${shown.join(', ')}.`
}
