import { GraftError } from '../errors.js'

/** One turn of a conversation. What else it has, such as tool_calls, goes to the template as it is. */
export interface Message {
  role: string
  content?: unknown
  [field: string]: unknown
}

type Range = readonly [start: number, end: number]

/** A text, and the ranges of it that the model is to learn to write. */
export interface MarkedText {
  text: string
  spans: readonly Range[]
  /** what of it is not learnt, by reason */
  left?: Readonly<Record<string, number>>
  /** worth telling */
  notice?: string
}

/** A conversation as its template wrote it, with what is needed to find the assistant's turns in it. */
export interface Written {
  messages: readonly Message[]
  text: string
  /** where the template itself says that the model writes, if it does */
  ranges: readonly Range[] | undefined
  /** the first messages alone; with a prompt, up to where an answer begins */
  render: (count: number, prompt: boolean) => string
  /** texts that no range cuts: special tokens */
  units: readonly string[]
}

const silent = 'conversations without a turn of the assistant'
const unlearnt = 'turns of the assistant with weight 0'
const rewritten = 'turns of the assistant that the template rewrites when more follow'

/** Where the assistant's turns lie in a conversation. Throws BAD_CONVERSATION, and what rendering throws. */
export function markTurns(written: Written): MarkedText {
  const turns = written.messages.flatMap(({ role }, i) => (role === 'assistant' ? [i] : []))
  const wanted = turns.filter((i) => isLearnt(written.messages[i], i))
  const skipped: Record<string, number> = {
    ...(turns.length === 0 ? { [silent]: 1 } : {}),
    ...(wanted.length < turns.length ? { [unlearnt]: turns.length - wanted.length } : {}),
  }
  const { text, ranges } = written
  if (ranges) return { text, spans: byRanges(ranges, turns, wanted), left: skipped }
  const found = wanted.map((i) => new Turn(written, i).range())
  const spans = found.filter((r) => r !== undefined)
  const lost = found.length - spans.length
  const opens = wanted.some((i) => new Turn(written, i).opensMore)
  return {
    text,
    spans,
    left: lost > 0 ? { ...skipped, [rewritten]: lost } : skipped,
    ...(opens ? { notice: opened } : {}),
  }
}
const opened =
  "The chat template begins an answer with more than the data's answers have (it opens a thought, say); they are learnt as the template writes them in a conversation."

/** OpenAI's weight (0 or 1), or Axolotl's train (true or false). */
function isLearnt({ weight, train }: Message, i: number): boolean {
  if (weight !== undefined && weight !== null && Number(weight) !== 0 && Number(weight) !== 1)
    throw new GraftError(
      'BAD_CONVERSATION',
      `message ${i + 1}: weight should be 0 or 1, got ${String(weight)}.`,
    )
  return train !== false && (weight === undefined || weight === null || Number(weight) === 1)
}

/** The template's own ranges; those of single turns only where there is one for each. */
function byRanges(ranges: readonly Range[], turns: readonly number[], wanted: readonly number[]): Range[] {
  if (wanted.length === turns.length) return ranges.filter(([start, end]) => end > start)
  if (ranges.length !== turns.length)
    throw new GraftError(
      'BAD_CONVERSATION',
      `Some turns have weight 0, and the template marks ${ranges.length} ranges for ${turns.length} turns of the assistant, so which is whose can't be told.`,
    )
  return ranges.filter(([start, end], k) => wanted.includes(turns[k]) && end > start)
}

/** One turn of the assistant, found by what the template adds for it. */
class Turn {
  private readonly before: string
  private readonly through: string

  constructor(
    private readonly written: Written,
    private readonly index: number,
  ) {
    this.before = index === 0 ? '' : written.render(index, true)
    this.through = index + 1 === written.messages.length ? written.text : written.render(index + 1, false)
  }

  /** Whether the prompt for an answer goes on where the conversation has the answer already. */
  get opensMore(): boolean {
    return !this.through.startsWith(this.before)
  }

  /**
   * From where the prompt for the turn ends, or where the turn leaves it, to where the text with the turn as its last and the whole text
   * part: what follows there closes every conversation. Undefined for a turn that the whole text doesn't have.
   */
  range(): Range | undefined {
    const { text, units } = this.written
    const start = Math.min(this.contentStart(), common(this.before, this.through, units))
    const end = common(this.through, text, units)
    const closing = this.through.slice(end)
    return end > start && text.endsWith(closing) ? [start, end] : undefined
  }
  /** Where the turn's own text begins, so that letters it shares with a longer prompt stay its own. */
  private contentStart(): number {
    const { content } = this.written.messages[this.index]
    if (!this.opensMore || typeof content !== 'string' || content.trim() === '') return this.through.length
    const at = this.through.lastIndexOf(content.trim())
    return at < 0 ? this.through.length : at
  }
}

/** How much two texts begin with alike, without cutting a unit that only one of them goes on with. */
function common(a: string, b: string, units: readonly string[]): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  if (n === a.length && n === b.length) return n
  for (const unit of units)
    for (let back = Math.min(unit.length - 1, n); back > 0; back--)
      if (a.startsWith(unit, n - back) !== b.startsWith(unit, n - back))
        return common(a.slice(0, n - back), b, units)
  return n
}
