import type { AttachContext, Value } from '@graft-peft/core'

/** The same context, in which a name that is asked for again is the parameter that it was: what layers share. */
export function once(context: AttachContext): AttachContext {
  const known = new Map<string, Value>()
  const remembered = (name: string, declare: () => Value): Value => {
    const found = known.get(name) ?? declare()
    known.set(name, found)
    return found
  }
  return {
    ...context,
    param: (name, options) => remembered(name, () => context.param(name, options)),
    buffer: (name, options) => remembered(name, () => context.buffer(name, options)),
  }
}
