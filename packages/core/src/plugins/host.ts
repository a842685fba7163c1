import { register } from 'node:module'

/** Packages that a plugin takes from who loads it, wherever the plugin lies: a file beside a config has no node_modules. */
const shared = /^@graft-peft\/(core|onnx)(\/|$)/

/** Whether an import failed for want of a package that the host has. */
export const lacksHost = (cause: unknown): boolean => {
  const { code, message } = cause as NodeJS.ErrnoException
  return code === 'ERR_MODULE_NOT_FOUND' && /Cannot find package '@graft-peft\/(core|onnx)'/.test(message)
}

let offered = false
/** From now on what can't be found of Graft's own packages is looked for where this file lies. */
export function offerHost(): void {
  if (offered) return
  offered = true
  register(import.meta.url, { parentURL: import.meta.url })
}

interface Context {
  parentURL?: string
}
type Next = (specifier: string, context: Context) => Promise<unknown>
/** Node's hook (module.register): resolves an import. */
export async function resolve(specifier: string, context: Context, next: Next): Promise<unknown> {
  try {
    return await next(specifier, context)
  } catch (cause) {
    if (!shared.test(specifier)) throw cause
    return next(specifier, { ...context, parentURL: import.meta.url })
  }
}
