import { applyEdits, modify } from 'jsonc-parser'

const formattingOptions = { insertSpaces: true, tabSize: 2 }

/** A JSON object's text with some keys set; all else keeps its spelling, numbers above all: readers tell 30.0 from 30. */
export const withKeys = (text: string, changes: Record<string, unknown>): string =>
  Object.entries(changes).reduce(
    (edited, [key, value]) => applyEdits(edited, modify(edited, [key], value, { formattingOptions })),
    text,
  )
