import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Registry } from '../container.js'
import { GraftError } from '../errors.js'
import { isObject, readObject, shown } from '../files/json.js'
import { lacksHost, offerHost } from './host.js'

/**
 * Imports the plugins a config names, packages or paths, resolved from the config's own folder, and registers
 * what they export. Nothing else is ever imported.
 *
 * @throws PLUGIN_NOT_FOUND, PLUGIN_FAILED, BAD_PLUGIN, DUPLICATE_PLUGIN, API_VERSION.
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
    return { exported: await inTime(imported(pathToFileURL(file).href)), version }
  } catch (cause) {
    throw new GraftError(
      'PLUGIN_FAILED',
      `plugins: ${name}: importing ${file} threw: ${cause instanceof Error ? cause.message : shown(cause)}. This is a fault of that package, or of its installation; report it there.`,
      { cause },
    )
  }
}
/** milliseconds that a module may take to load */
const patience = 30_000
/** A module may wait at its top level, but not for ever. */
function inTime<T>(loading: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(
      () => fail(new Error(`it did not finish loading within ${patience / 1000} s`)),
      patience,
    )
  })
  return Promise.race([loading, late]).finally(() => clearTimeout(timer))
}

/** A module's default export; one that finds no core of its own gets the host's. */
async function imported(url: string): Promise<unknown> {
  try {
    return ((await import(url)) as { default?: unknown }).default
  } catch (cause) {
    if (!lacksHost(cause)) throw cause
    offerHost()
    // Node remembers that an address failed; with a query it is another one.
    return ((await import(`${url}?host`)) as { default?: unknown }).default
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

function entryOf(packageFolder: string, name: string): Entry {
  const path = join(packageFolder, 'package.json')
  if (!existsSync(path)) throw notFound(name, `${packageFolder} has no package.json`)
  const { exports, main, version } = readObject(path, 'BAD_PLUGIN')
  const own = isObject(exports) && '.' in exports ? exports['.'] : exports
  const entry = exported(own) ?? main ?? 'index.js'
  if (typeof entry !== 'string')
    throw new GraftError('BAD_PLUGIN', `${path}: main should be a path, got ${shown(entry)}.`)
  const file = resolve(dirname(path), entry)
  if (!liesIn(file, dirname(path)))
    throw notFound(
      name,
      `its package.json points at ${entry}, which is no file of that package; build it first`,
    )
  return { file, version: typeof version === 'string' ? version : '' }
}
const liesIn = (file: string, folder: string): boolean =>
  file.startsWith(folder + sep) && (statSync(file, { throwIfNoEntry: false })?.isFile() ?? false)
/** The path that a package exports to an import, by the conditions of Node. */
function exported(target: unknown): unknown {
  if (Array.isArray(target)) return target.map(exported).find((t) => t !== undefined)
  if (!isObject(target)) return target ?? undefined
  for (const condition of ['import', 'node', 'default'])
    if (Object.hasOwn(target, condition)) return exported(target[condition])
  return undefined
}
