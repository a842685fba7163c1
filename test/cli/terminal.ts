import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import xterm from '@xterm/headless'
import { root } from '../fixture.js'

/** What a person sees of a command line: script(1) gives it a terminal, xterm keeps the screen. */
export class Eyes {
  private readonly screen
  constructor(
    readonly columns: number,
    readonly rows = 24,
  ) {
    this.screen = new xterm.Terminal({ cols: columns, rows, scrollback: 5000, allowProposedApi: true })
  }

  write(text: string): Promise<void> {
    return new Promise((resolve) => this.screen.write(text, resolve))
  }
  /** All lines there are, those scrolled away first. */
  get lines(): string[] {
    const { active } = this.screen.buffer
    const lines = Array.from(
      { length: active.length },
      (_, i) => active.getLine(i)?.translateToString(true) ?? '',
    )
    while (lines.at(-1) === '') lines.pop()
    return lines
  }

  /** Rows that go on with what was too wide for the row above. */
  get wrapped(): string[] {
    const { active } = this.screen.buffer
    return this.lines.filter((_, i) => active.getLine(i)?.isWrapped)
  }

  /** Runs the command line in a terminal of this size; `onScreen` sees each change, and may type. */
  async watch(
    args: readonly string[],
    onScreen: (lines: readonly string[], type: (keys: string) => void) => void = () => {},
  ): Promise<number> {
    const words = [process.execPath, join(root, 'packages/cli/bin/graft.js'), ...args]
    const command = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
    const child: ChildProcess = spawn('script', [
      '-qefc',
      `stty cols ${this.columns} rows ${this.rows}; ${command}`,
      '/dev/null',
    ])
    const type = (keys: string) => void child.stdin?.write(keys)
    let shown = Promise.resolve()
    child.stdout?.on('data', (data) => {
      shown = shown.then(() => this.write(String(data))).then(() => onScreen(this.lines, type))
    })
    const code = await new Promise<number>((resolve) => child.on('close', resolve))
    await shown
    return code
  }
}
