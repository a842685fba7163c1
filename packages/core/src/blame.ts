import { GraftError } from './errors.js'

/** Whoever brought a function that the core calls. */
interface Brought {
  kind: string
  name: string
}

/** What a plugin's function throws that isn't an error of Graft's own gets the plugin's name. */
export function guarded<T>(plugin: Brought, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw pluginFailed(plugin, cause)
  }
}

/** PLUGIN_FAILED with the kind and name of who threw, and where; an error of Graft's own as it is. */
export function pluginFailed({ kind, name }: Brought, cause: unknown): unknown {
  if (cause instanceof GraftError) return cause
  const error = cause instanceof Error ? cause : new Error(String(cause))
  const at = error.stack?.split('\n')[1]?.trim()
  return new GraftError(
    'PLUGIN_FAILED',
    `${kind[0].toUpperCase()}${kind.slice(1)} ${name} threw: ${error.message}${at ? ` (${at})` : ''}. This is a fault of the ${kind}'s package; report it there.`,
    { cause },
  )
}
