import Table from 'cli-table3'

export const printLine = (text = ''): void => void process.stdout.write(`${text}\n`)
export const printJson = (value: unknown): void => printLine(JSON.stringify(value))
/** For the eyes only: never mixed into what a pipe reads. */
export const note = (text: string): void => void process.stderr.write(`${text}\n`)

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
export const thousands = (n: number): string => n.toLocaleString('en-US')
export const scientific = (n: number): string => (n === 0 ? '0' : n.toExponential(1))
/** 75 s → 1:15 */
export function duration(seconds: number): string {
  const whole = Math.round(seconds)
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  return `${h > 0 ? `${h}:${String(m).padStart(2, '0')}` : m}:${String(s).padStart(2, '0')}`
}

/** A table without frames, readable when piped. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligns: ('left' | 'right')[] = [],
): void {
  const chars = Object.fromEntries(
    [
      'top',
      'top-mid',
      'top-left',
      'top-right',
      'bottom',
      'bottom-mid',
      'bottom-left',
      'bottom-right',
      'left',
      'left-mid',
      'mid',
      'mid-mid',
      'right',
      'right-mid',
    ].map((k) => [k, '']),
  )
  const table = new Table({
    head: [...head],
    colAligns: aligns,
    chars: { ...chars, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  for (const row of rows) table.push([...row])
  for (const line of table.toString().split('\n')) printLine(line.trimEnd())
}
