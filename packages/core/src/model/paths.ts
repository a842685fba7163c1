/**
 * Module paths as HF PEFT names them. Exporters run the model inside a wrapper ("m.model.layers.0…"): a first component that
 * every module shares belongs to the wrapper, since a transformers model has at least two children of its own.
 */
export function wrapperPrefix(paths: readonly string[]): string {
  let prefix = ''
  let rest = paths.filter((p) => p !== '')
  while (rest.length > 1) {
    const head = rest[0].split('.')[0]
    if (!rest.every((p) => p.startsWith(`${head}.`))) break
    prefix += `${head}.`
    rest = rest.map((p) => p.slice(head.length + 1))
  }
  return prefix
}

/** Whether a module path is named by `target`: the whole path, or its end after a dot. */
export const endsWith = (path: string, target: string): boolean =>
  path === target || path.endsWith(`.${target}`)

/** A module and the modules it lies in: a.b.c, a.b, a. */
export const ancestry = (path: string): string[] =>
  path.split('.').map((_, i, parts) => parts.slice(0, parts.length - i).join('.'))

/** Whether a module belongs to what modules_to_save names: itself or a container of it ends so, with or without a dot (as HF PEFT). */
export const belongsTo = (path: string, name: string): boolean => ancestry(path).some((p) => p.endsWith(name))

/**
 * The part of a scope that lacks a module which the parameter's name has, and how it reads in full: m.decoder.fc and
 * m.model.decoder.fc give m.decoder and m.model.decoder. Undefined for names that differ in another way, as those of equal
 * parameters that an exporter stored once do.
 */
export function skippedModule(
  scope: string,
  named: string | undefined,
): { short: string; full: string } | undefined {
  if (!named || scope === '' || named === scope) return undefined
  const [short, full] = [scope.split('.'), named.split('.')]
  let common = 0
  while (common < short.length && short.at(-1 - common) === full.at(-1 - common)) common++
  const [head, fullHead] = [short.slice(0, short.length - common), full.slice(0, full.length - common)]
  if (common === 0 || fullHead.length <= head.length || head.some((part, i) => part !== fullHead[i]))
    return undefined
  const next = short[head.length]
  return { short: [...head, next].join('.'), full: [...fullHead, next].join('.') }
}
