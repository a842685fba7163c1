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
export type LogLine = StepLine | EvaluationLine

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
const isScore = (v: unknown): boolean => v === null || isNumber(v)
function fault({ step, phase, part, ...rest }: Fields): string | undefined {
  if (!Number.isSafeInteger(step) || (step as number) < 0)
    return `step should be a whole number, got ${shown(step)}`
  if (phase === undefined) return stepFault(rest)
  if (!['before', 'during', 'after'].includes(String(phase)))
    return `phase should be before, during or after, got ${shown(phase)}`
  if (typeof part !== 'string') return `part should be a text, got ${shown(part)}`
  const odd = Object.entries(rest).find(([, v]) => !isScore(v))
  return odd && `${odd[0]} should be a number, got ${shown(odd[1])}`
}
function stepFault({ loss, tokens, seconds, batch, ranks }: Fields): string | undefined {
  if (!isScore(loss)) return `loss should be a number, got ${shown(loss)}`
  for (const [name, v] of Object.entries({ tokens, seconds }))
    if (!isNumber(v) || (v as number) < 0) return `${name} should be a number from 0 on, got ${shown(v)}`
  if (typeof batch !== 'string') return `batch should be a text, got ${shown(batch)}`
  if (ranks !== undefined && !(typeof ranks === 'object' && Object.values(ranks ?? []).every(isNumber)))
    return `ranks should be numbers by module, got ${shown(ranks)}`
  return undefined
}
