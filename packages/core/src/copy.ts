import { fileURLToPath } from 'node:url'

/** Where this copy of the core lies. */
export const here = fileURLToPath(new URL('..', import.meta.url))

const mark = Symbol.for('@graft-peft/core')

/** What every plugin carries: which copy of the core made it. Another copy's can't share graphs and errors with this one. */
export const madeHere = { [mark]: here }

/** The copy of the core that a plugin was made with, where that is another than this. */
export function otherCopy(plugin: object): string | undefined {
  const made = (plugin as Partial<typeof madeHere>)[mark]
  return made === here ? undefined : made
}
