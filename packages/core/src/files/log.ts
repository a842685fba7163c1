import { GraftError } from '../errors.js'
import { checked } from './checked-lines.js'
import { readJsonLines, shown } from './json.js'

/** One optimiser step. */
export interface StepLine extends Record<string, unknown> {
  step: number
  loss: number | null
  tokens: number
  seconds: number
  batch: string
  phase?: undefined
  ranks?: Record<string, number>
}
/** Scores of a part of the data. */
export interface EvaluationLine extends Record<string, unknown> {
  step: number
  phase: 'before' | 'during' | 'after'
  part: string
}
/** What rounding to 8-bit integers does to each product with a frozen weight, measured before the first step. */
export interface RoundingLine extends Record<string, unknown> {
  step: 0
  phase: 'rounding'
  errors: Record<string, number>
  float32: string[]
  smoothed: string[]
}
export type LogLine = StepLine | EvaluationLine | RoundingLine

type Fields = Record<string, unknown>
/** Two runs of one config differ in these alone, so that a line's checksum leaves them out. */
export const measured = ({ seconds: _, memory_mb: __, ...rest }: Fields): Fields => rest
/** A run's log, line by line; a torn last line is dropped. Throws BAD_LOG with file and line. */
export function readLog(path: string): LogLine[] {
  return readJsonLines(path, 'BAD_LOG').map((line) => {
    const value = checked(line, path, 'BAD_LOG', measured)
    const why = fault(value)
    if (!why) return value as LogLine
    throw new GraftError(
      'BAD_LOG',
      `${path}:${line.line}: ${why}. Restore the file, or start again with --overwrite.`,
    )
  })
}
const isNumber = (v: unknown): boolean => typeof v === 'number' && Number.isFinite(v)
const isNumbers = (v: unknown): boolean =>
  typeof v === 'object' && v !== null && Object.values(v).every(isNumber)
const isTexts = (v: unknown): boolean => Array.isArray(v) && v.every((t) => typeof t === 'string')
const isScore = (v: unknown): boolean => v === null || isNumber(v)
function fault({ step, phase, part, ...rest }: Fields): string | undefined {
  if (!Number.isSafeInteger(step) || (step as number) < 0)
    return `step should be a whole number, got ${shown(step)}`
  if (phase === undefined) return stepFault(rest)
  if (phase === 'rounding') return roundingFault(rest)
  if (!['before', 'during', 'after'].includes(String(phase)))
    return `phase should be before, during, after or rounding, got ${shown(phase)}`
  if (typeof part !== 'string') return `part should be a text, got ${shown(part)}`
  const odd = Object.entries(rest).find(([, v]) => !isScore(v))
  return odd && `${odd[0]} should be a number, got ${shown(odd[1])}`
}
function stepFault({ loss, tokens, seconds, batch, ranks }: Fields): string | undefined {
  if (!isScore(loss)) return `loss should be a number, got ${shown(loss)}`
  for (const [name, v] of Object.entries({ tokens, seconds }))
    if (!isNumber(v) || (v as number) < 0) return `${name} should be a number from 0 on, got ${shown(v)}`
  if (typeof batch !== 'string') return `batch should be a text, got ${shown(batch)}`
  if (ranks !== undefined && !isNumbers(ranks))
    return `ranks should be numbers by module, got ${shown(ranks)}`
  return undefined
}
function roundingFault({ errors, float32, smoothed }: Fields): string | undefined {
  if (!isNumbers(errors)) return `errors should be numbers by product, got ${shown(errors)}`
  for (const [name, v] of Object.entries({ float32, smoothed }))
    if (!isTexts(v)) return `${name} should be a list of texts, got ${shown(v)}`
  return undefined
}
