import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { appendLine, defineTracker, readJsonLines, writeAtomically } from '@graft-peft/core'

interface Options {
  file: string | null
}

/** One JSON object a line: run, step, time, and the numbers. Several runs may write into one file. */
export const jsonLines = defineTracker<Options>({
  name: 'json-lines',
  summary: 'numbers of each step as JSON Lines',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    properties: { file: { anyOf: [{ type: 'string', minLength: 1 }, { type: 'null' }], default: null } },
  },
  async open({ name, folder, resumedAt }, { file }) {
    const path = file === null ? join(folder, 'metrics.jsonl') : resolve(folder, file)
    // What a killed run wrote after its checkpoint comes again; in a file that others share it is left, and the later line counts.
    if (file === null) keepUpTo(path, resumedAt)
    return {
      scalars: (step, values) =>
        appendLine(
          path,
          `${JSON.stringify({ run: name, step, time: new Date().toISOString(), ...values })}\n`,
        ),
      finish: async () => {},
    }
  },
})

function keepUpTo(path: string, step: number): void {
  if (!existsSync(path)) return
  const kept =
    step === 0 ? [] : readJsonLines(path, 'BAD_METRICS').filter((l) => Number(l.value.step) <= step)
  writeAtomically(path, kept.map(({ value }) => `${JSON.stringify(value)}\n`).join(''))
}
