import { jsonText, printable } from '@graft-peft/core/inside'
import Table from 'cli-table3'
import stringWidth from 'string-width'
import wrapAnsi from 'wrap-ansi'
import { Screen, type Terminal } from './screen.js'

/** The terminal, if there is one: notes and progress go to the error stream. */
export const screen = new Screen(process.stderr)

/** Thrown by the next output after a stream broke, so that a command ends through its own clean-up: its reader left (| head), or a disk is full. */
export class OutputBroken extends Error {
  constructor(override readonly cause: NodeJS.ErrnoException) {
    super(`the output can't be written: ${cause.message}`)
  }
  /** a reader that stops early is no error */
  get isReaderGone(): boolean {
    return this.cause.code === 'EPIPE'
  }
}
let broken: NodeJS.ErrnoException | undefined
for (const stream of [process.stdout, process.stderr]) stream.on('error', (error) => (broken ??= error))

/** Throws OutputBroken where an earlier output failed. */
function checkOutput(): void {
  if (broken) throw new OutputBroken(broken)
}

/** The same once the last write has been answered for. */
export async function settleOutput(): Promise<void> {
  await new Promise(setImmediate)
  checkOutput()
}

/** Writes a result, in pieces of lines where nothing is drawn below it. */
export function print(text: string, stream: Terminal = process.stdout): void {
  checkOutput()
  screen.above(printable(text), stream)
}
export const printLine = (text = ''): void => print(`${text}\n`)
/** Sentences: on a terminal broken between words. */
export const printProse = (text: string): void =>
  printLine(process.stdout.isTTY ? wrapAnsi(text, process.stdout.columns, { trim: false }) : text)
export const printJson = (value: unknown): void => printLine(jsonText(value))
/** For the eyes only: never mixed into what a pipe reads. */
export const note = (text: string): void => print(`${text}\n`, process.stderr)

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
export const thousands = (n: number): string => n.toLocaleString('en-US')
export const scientific = (n: number): string => (n === 0 ? '0' : n.toExponential(1))
/** 75 s → 1:15 */
export function duration(seconds: number): string {
  const whole = Math.round(seconds)
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return `${h > 0 ? `${h}:${String(m).padStart(2, '0')}` : m}:${String(s).padStart(2, '0')}`
}

type Align = 'left' | 'right'

/** A table without frames, readable when piped. On a terminal, columns that don't fit stand in a further table below, each after the first column. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligns: readonly Align[] = [],
): void {
  const columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY
  for (const line of tableLines(head, rows, aligns, columns)) printLine(line)
}

/** A table's lines, none wider than `columns`. */
export function tableLines(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligns: readonly Align[],
  columns: number,
): string[] {
  const widths = head.map((title, c) =>
    Math.max(...[title, ...rows.map((row) => row[c])].map((text) => stringWidth(text))),
  )
  return bands(widths, columns).flatMap((band, i) => {
    const pick = <T>(list: readonly T[]) => band.map((c) => list[c])
    // Only a column that is too wide by itself has its text broken into lines.
    const room = columns - widths[0] - gap.length
    const colWidths = band.map((c) => (c > 0 && widths[c] > room ? Math.max(room, 8) : widths[c]))
    return [
      ...(i > 0 ? [''] : []),
      ...plainTable(pick(head), rows.map(pick), pick(aligns), colWidths).map((line) => line.trimEnd()),
    ]
  })
}
const gap = '  '

/** Which columns stand side by side: the first in every band, the others in one each. */
function bands(widths: readonly number[], columns: number): number[][] {
  const found: number[][] = [[0]]
  let used = widths[0]
  for (let c = 1; c < widths.length; c++) {
    const band = found[found.length - 1]
    if (band.length > 1 && used + gap.length + widths[c] > columns) {
      found.push([0, c])
      used = widths[0] + gap.length + widths[c]
    } else {
      band.push(c)
      used += gap.length + widths[c]
    }
  }
  return found
}

const frame =
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid'
function plainTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligns: readonly Align[],
  colWidths: readonly number[],
): string[] {
  const table = new Table({
    head: [...head],
    colAligns: [...aligns],
    colWidths: [...colWidths],
    wordWrap: true,
    chars: { ...Object.fromEntries(frame.split(' ').map((k) => [k, ''])), middle: gap },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  for (const row of rows) table.push([...row])
  return table.toString().split('\n')
}
