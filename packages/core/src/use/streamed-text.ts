import type { Tokenizer } from '../data/tokenizer.js'

/**
 * Tokens to text, given out as soon as it is sure: not in the middle of a character, nor of what may become a
 * stop text.
 */
export class StreamedText {
  whole = ''
  stopped = false
  private readonly ids: number[] = []
  private given = 0

  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly stop: readonly string[],
  ) {}

  add(id: number): string {
    this.ids.push(id)
    const text = this.tokenizer.decode(this.ids)
    if (text.endsWith('\uFFFD')) return ''
    this.whole = text
    const at = Math.min(...this.stop.map((s) => text.indexOf(s)).filter((i) => i >= 0))
    if (Number.isFinite(at)) {
      this.stopped = true
      this.whole = text.slice(0, at)
      return this.upTo(at)
    }
    return this.upTo(text.length - this.held(text))
  }
  flush(): string {
    return this.upTo(this.whole.length)
  }
  private upTo(end: number): string {
    const piece = this.whole.slice(this.given, end)
    this.given = Math.max(this.given, end)
    return piece
  }
  /** How much of the text's end may be the beginning of a stop text. */
  private held(text: string): number {
    const lengths = this.stop.map((s) => {
      for (let n = Math.min(s.length - 1, text.length); n > 0; n--) if (text.endsWith(s.slice(0, n))) return n
      return 0
    })
    return Math.max(0, ...lengths)
  }
}
