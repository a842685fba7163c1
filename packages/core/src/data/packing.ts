import type { Example } from './example.js'
/** How many examples are looked at together to fill rows. */
const window = 1024

/**
 * Joins texts into rows of at most `length` tokens: each window's texts, longest first, go into the first row with room (first-fit
 * decreasing). Texts of a row don't see each other and each counts its positions from 0, so the loss is that of texts apart.
 */
export async function* packed(examples: AsyncIterable<Example>, length: number): AsyncGenerator<Example> {
  let waiting: Example[] = []
  for await (const example of examples) {
    waiting.push(example)
    if (waiting.length < window) continue
    yield* rowsOf(waiting, length)
    waiting = []
  }
  yield* rowsOf(waiting, length)
}

function rowsOf(examples: readonly Example[], length: number): Example[] {
  const rows: { room: number; parts: Example[] }[] = []
  for (const example of [...examples].sort((a, b) => b.ids.length - a.ids.length)) {
    const row = rows.find((r) => r.room >= example.ids.length) ?? { room: length, parts: [] }
    if (row.parts.length === 0) rows.push(row)
    row.parts.push(example)
    row.room -= example.ids.length
  }
  return rows.map((r) => join(r.parts))
}

/** One row. A text's first token has nothing before it that could predict it. */
function join(parts: readonly Example[]): Example {
  const starts: number[] = []
  const ids: number[] = []
  const tokenLabels: number[] = []
  for (const part of parts) {
    starts.push(ids.length)
    ids.push(...part.ids)
    tokenLabels.push(...(part.tokenLabels ?? []).map((label, i) => (i === 0 ? -100 : label)))
  }
  return { ids, tokenLabels, starts }
}
