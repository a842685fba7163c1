import { printable } from '@graft-peft/core/inside'
import cliTruncate from 'cli-truncate'
import { createLogUpdate } from 'log-update'
import stringWidth from 'string-width'

/** What a screen writes to: process.stderr, or what stands for it in a test. */
export interface Terminal {
  isTTY?: boolean
  columns?: number
  write(text: string): unknown
}

/** A terminal's lines, all written by one hand: a frame at the bottom that is drawn anew, and lines that scroll by above it. In a pipe there are lines alone. */
export class Screen {
  private readonly update
  private frame = ''
  private drawn = 0

  constructor(private readonly terminal: Terminal) {
    this.update = createLogUpdate(terminal as NodeJS.WriteStream)
  }

  get isTerminal(): boolean {
    return this.terminal.isTTY === true
  }
  get columns(): number {
    return this.terminal.columns ?? 80
  }

  /** Draws the frame anew, twelve times a second at most unless it is `urgent`. Does nothing in a pipe. */
  draw(lines: readonly string[], urgent = false): void {
    if (!this.isTerminal) return
    this.frame = lines.map((line) => cliTruncate(printable(line), this.columns - 1)).join('\n')
    const now = performance.now()
    if (!urgent && now - this.drawn < 80) return
    this.drawn = now
    this.update(this.frame)
  }

  /** Writes whole lines above the frame: to the terminal, or to another stream that shows on it. */
  above(text: string, stream: Terminal = this.terminal): void {
    const covered = this.frame !== '' && stream.isTTY
    if (covered) this.update.clear()
    stream.write(text)
    if (covered) this.update(this.frame)
  }

  /** Takes the frame away and shows the cursor again. */
  close(): void {
    if (this.frame === '') return
    this.frame = ''
    this.update.clear()
    this.update.done()
  }
}

/** A bar and what it says, on one line: what must be said first, then as much of the rest as fits. */
export function barLine(
  share: number,
  columns: number,
  must: readonly string[],
  rest: readonly string[] = [],
): string {
  const parts = [...must]
  for (const part of rest)
    if (stringWidth([...parts, part].join(separator)) + narrowest + 2 <= columns) parts.push(part)
  const text = parts.join(separator)
  const width = Math.max(narrowest, Math.min(widest, columns - 2 - stringWidth(text)))
  const full = Math.round(width * Math.min(1, Math.max(0, share)))
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${text}`
}
const separator = ' · '
/** columns of a bar */
const [narrowest, widest] = [8, 24]
