import { createReadStream } from 'node:fs'

export interface JsonItem {
  text: string
  /** line that it starts on, from 1 */
  line: number
}

/**
 * The objects of a JSON file, one at a time however large the file is: elements of a top-level array, or values one after another.
 * Splits at brackets outside strings; whether each item is JSON is for the parser to say.
 */
export async function* jsonItems(path: string): AsyncGenerator<JsonItem> {
  const splitter = new Splitter()
  for await (const chunk of createReadStream(path, { encoding: 'utf8', highWaterMark: 2 ** 18 }))
    yield* splitter.feed(chunk as string)
  yield* splitter.end()
}

class Splitter {
  private parts: string[] = []
  private depth = 0
  private inString = false
  private escaped = false
  private line = 1
  private startLine = 1
  private inArray?: boolean;

  *feed(chunk: string): Generator<JsonItem> {
    let from = this.depth > 0 ? 0 : -1
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i]
      if (c === '\n') this.line++
      if (this.inString) {
        if (this.escaped) this.escaped = false
        else if (c === '\\') this.escaped = true
        else if (c === '"') this.inString = false
        continue
      }
      if (this.depth === 0) {
        if (c === '[' && this.inArray === undefined) this.inArray = true
        else if (this.opens(c)) {
          this.inArray ??= false
          this.startLine = this.line
          from = i
          this.depth = 1
          this.inString = c === '"'
        } else if (!/[\s,\]\uFEFF]/.test(c)) yield { text: chunk.slice(i, i + 80), line: this.line }
        continue
      }
      if (c === '"') this.inString = true
      else if (c === '{' || c === '[') this.depth++
      else if ((c === '}' || c === ']') && --this.depth === 0) {
        yield this.take(chunk.slice(from, i + 1))
        from = -1
      }
    }
    if (this.depth > 0) this.parts.push(chunk.slice(from))
  }
  /** What a file that ends in the middle of an item holds of it. */
  *end(): Generator<JsonItem> {
    if (this.depth > 0) yield this.take('')
  }
  private opens(c: string): boolean {
    return c === '{' || c === '['
  }
  private take(last: string): JsonItem {
    const text = [...this.parts, last].join('')
    this.parts = []
    return { text, line: this.startLine }
  }
}
