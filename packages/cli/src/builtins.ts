import { Registry } from '@graft/core'
import lora from '@graft/lora'

/** Methods that come with the command line; all others are named in a config's plugins. */
const builtins = [['@graft/lora', lora]] as const

export function defaultRegistry(): Registry {
  const registry = new Registry()
  for (const [origin, method] of builtins) registry.register('method', method as never, origin)
  return registry
}
