import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { defineTracker, writeAtomically } from '@graft-peft/core'

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
        appendFileSync(
          path,
          `${JSON.stringify({ run: name, step, time: new Date().toISOString(), ...values })}\n`,
        ),
      finish: async () => {},
    }
  },
})

function keepUpTo(path: string, step: number): void {
  if (!existsSync(path)) return
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
  writeAtomically(
    path,
    step === 0
      ? ''
      : lines
          .filter((line) => JSON.parse(line).step <= step)
          .map((line) => `${line}\n`)
          .join(''),
  )
}
