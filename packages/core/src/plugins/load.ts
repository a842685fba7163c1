import { existsSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'

/**
 * Imports the plugins a config names, packages or paths, resolved from the config's own folder, and registers what they export.
 * Nothing else is ever imported. Throws PLUGIN_NOT_FOUND, PLUGIN_FAILED, BAD_PLUGIN, DUPLICATE_PLUGIN, API_VERSION.
 */
export async function loadPlugins(
  names: readonly string[],
  folder: string,
  registry: Registry,
): Promise<void> {
  for (const name of names) {
    const { exported, version } = await importPlugin(name, folder)
    registry.registerPackage(exported, { package: name, version })
  }
}

/** The file that a plugin's name means for a config in this folder. Throws PLUGIN_NOT_FOUND. */
export const findPlugin = (name: string, folder: string): Entry =>
  isPath(name) ? fileAt(resolve(folder, name), name) : packageEntry(name, folder)

async function importPlugin(name: string, folder: string): Promise<{ exported: unknown; version: string }> {
  const { file, version } = findPlugin(name, folder)
  try {
    const module: { default?: unknown } = await import(pathToFileURL(file).href)
    return { exported: module.default, version }
  } catch (cause) {
    throw new GraftError(
      'PLUGIN_FAILED',
      `plugins: ${name}: importing ${file} threw: ${(cause as Error).message}. This is a fault of that package, or of its installation; report it there.`,
      { cause },
    )
  }
}
const isPath = (name: string): boolean => name.startsWith('.') || isAbsolute(name)
const notFound = (name: string, where: string) =>
  new GraftError(
    'PLUGIN_NOT_FOUND',
    `plugins: ${name}: ${where}. Install the package beside the config (npm install ${name}), or give the path of its file or folder.`,
  )

/** A file, or a package's folder. */
function fileAt(path: string, name: string): Entry {
  if (!existsSync(path)) throw notFound(name, `${path} is not there`)
  return statSync(path).isDirectory() ? entryOf(path, name) : { file: path, version: '' }
}

/** A package's main file, from the nearest node_modules above the config; read here since a package may export to import alone. */
function packageEntry(name: string, folder: string): Entry {
  const paths = createRequire(join(resolve(folder), 'config')).resolve.paths(name) ?? []
  const found = paths.map((p) => join(p, name)).find((p) => existsSync(join(p, 'package.json')))
  if (!found) throw notFound(name, `no such package is installed for ${folder}`)
  return entryOf(found, name)
}
interface Entry {
  file: string
  version: string
}
type Exports = string | { [condition: string]: Exports } | null | undefined

function entryOf(packageFolder: string, name: string): Entry {
  const path = join(packageFolder, 'package.json')
  if (!existsSync(path)) throw notFound(name, `${packageFolder} has no package.json`)
  const {
    exports,
    main,
    version = '',
  } = JSON.parse(readFileSync(path, 'utf8')) as { exports?: Exports; main?: string; version?: string }
  const entry =
    exported(typeof exports === 'object' && exports && '.' in exports ? exports['.'] : exports) ??
    main ??
    'index.js'
  const file = resolve(dirname(path), entry)
  if (!existsSync(file))
    throw notFound(name, `its package.json points at ${entry}, which is not there; build the package first`)
  return { file, version }
}
function exported(target: Exports): string | undefined {
  if (typeof target === 'string' || !target) return target ?? undefined
  for (const condition of ['import', 'node', 'default'])
    if (target[condition]) return exported(target[condition])
  return undefined
}
