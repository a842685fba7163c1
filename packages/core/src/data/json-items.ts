import { GraftError } from '../errors.js'

export interface JsonItem {
  text: string
  /** line that it starts on, from 1 */
  line: number
  /** its place in the file, from 1, where it isn't the first that starts on its line */
  object?: number
}

/**
 * The items of a JSON text, one at a time however large it is: elements of a top-level array, or values one after another. Splits at
 * brackets outside strings; whether each item is JSON is for the parser to say. Throws BAD_DATA_LINE for an array that breaks off.
 */
export async function* jsonItems(chunks: AsyncIterable<string>, name: string): AsyncGenerator<JsonItem> {
  const splitter = new Splitter(name)
  for await (const chunk of chunks) yield* splitter.feed(chunk)
  splitter.end()
}

/** What may come next at the top of an array: an item or its end, a comma or its end, nothing more. */
type Expecting = 'first' | 'item' | 'comma' | 'nothing'

class Splitter {
  private parts: string[] = []
  private depth = 0
  private inString = false
  private escaped = false
  private line = 1
  private startLine = 1
  private lastLine = 0
  private count = 0
  private inArray?: boolean
  private expecting: Expecting = 'first'

  constructor(private readonly name: string) {}

  *feed(chunk: string): Generator<JsonItem> {
    let from = this.depth > 0 ? 0 : -1
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i]
      if (c === '\n') this.line++
      if (this.inString) this.string(c)
      else if (this.depth === 0) {
        if (this.opens(c, chunk, i)) from = i
      } else if (c === '"') this.inString = true
      else if (c === '{' || c === '[') this.depth++
      else if ((c === '}' || c === ']') && --this.depth === 0) {
        yield this.take(chunk.slice(from, i + 1))
        from = -1
      }
    }
    if (this.depth > 0) this.parts.push(chunk.slice(from))
  }
  private string(c: string): void {
    if (this.escaped) this.escaped = false
    else if (c === '\\') this.escaped = true
    else if (c === '"') this.inString = false
  }
  /** Whether an item opens with this character between items. */
  private opens(c: string, chunk: string, i: number): boolean {
    if (/\s/.test(c)) return false
    if (this.inArray === undefined) {
      this.inArray = c === '['
      if (this.inArray) return false
    }
    if (this.inArray && this.between(c)) return false
    if (c !== '{' && c !== '[') throw this.fault(`expected an object, got ${chunk.slice(i, i + 40)}`)
    this.startLine = this.line
    this.depth = 1
    return true
  }
  /** A comma or the end of the array, where one may stand. */
  private between(c: string): boolean {
    const expecting = this.expecting
    if (expecting === 'nothing') throw this.fault('there is more after the end of the array')
    if (c === ']' && expecting !== 'item') this.expecting = 'nothing'
    else if (c === ',' && expecting === 'comma') this.expecting = 'item'
    else if (expecting === 'comma') throw this.fault('a comma is missing between two items of the array')
    else return false
    return true
  }
  /** The end of the text. */
  end(): void {
    if (this.depth > 0)
      throw this.fault(
        `object ${this.count + 1} breaks off in the middle, as in a file that was not written or downloaded to its end`,
      )
    if (this.inArray && this.expecting !== 'nothing')
      throw this.fault(
        'the array breaks off without its ], as a file does that was not written or downloaded to its end',
      )
  }
  private take(last: string): JsonItem {
    const text = [...this.parts, last].join('')
    this.parts = []
    this.expecting = 'comma'
    this.count++
    const isAlone = this.startLine > this.lastLine
    this.lastLine = this.startLine
    return { text, line: this.startLine, ...(isAlone ? {} : { object: this.count }) }
  }
  private fault(message: string): GraftError {
    return new GraftError('BAD_DATA_LINE', `${this.name}:${this.line}: ${message}.`)
  }
}
