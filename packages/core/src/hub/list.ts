import { GraftError } from '../errors.js'
import { isObject, shown } from '../files/json.js'
import { isDigest } from './checksum.js'
import { askJson, odd } from './request.js'
import type { HubSettings, Repository } from './settings.js'

export interface Listed {
  path: string
  size: number
  /** what its bytes are known by: see isDigest */
  digest: string
}
export interface Listing {
  commit: string
  files: Listed[]
}
/** What no repository of a model comes near. */
const most = { files: 50_000, pages: 1000 }
const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0

/** The commit that a revision stands for, and its files. Throws HUB_FAILED, ESCAPING_PATH, and what requests throw. */
export async function list(
  { name, revision }: Repository,
  settings: HubSettings,
  signal?: AbortSignal,
): Promise<Listing> {
  const model = `${settings.endpoint}/api/models/${name}`
  const { value: info } = await askJson(`${model}/revision/${encodeURIComponent(revision)}`, settings, signal)
  const commit = isObject(info) ? info.sha : undefined
  if (!isDigest(commit))
    throw new GraftError('HUB_FAILED', `${name}: the Hub names the commit ${shown(commit)}, which is none.`)
  const files: Listed[] = []
  const seen = new Set<string>()
  for (let url: string | undefined = `${model}/tree/${commit}?recursive=true`; url; ) {
    if (seen.has(url) || seen.size >= most.pages) throw odd(url, 'lists files without end')
    seen.add(url)
    const { value, next }: { value: unknown; next?: string } = await askJson(url, settings, signal)
    if (!Array.isArray(value)) throw odd(url, `should list files, and answers with ${shown(value)}`)
    for (const entry of value)
      if (isObject(entry) && entry.type === 'file') files.push(listed(entry, name))
      else if (!isObject(entry)) throw odd(url, `lists ${shown(entry)}, which is no file`)
    if (files.length > most.files) throw odd(url, `lists more than ${most.files} files`)
    url = next === undefined ? undefined : sameHost(next, url)
  }
  return { commit, files }
}

/** The next page, which must be the Hub's own: the token goes along. */
function sameHost(next: string, from: string): string {
  const url = URL.canParse(next, from) ? new URL(next, from) : undefined
  if (url?.origin === new URL(from).origin) return url.href
  throw odd(from, `sends on to ${shown(next)} for the rest of its list, which is another host`)
}

function listed({ path, size, oid, lfs }: Record<string, unknown>, name: string): Listed {
  const large = isObject(lfs) ? lfs : undefined
  const bytes = large?.size ?? size
  if (typeof path !== 'string')
    throw new GraftError('HUB_FAILED', `${name}: the Hub lists a file named ${shown(path)}.`)
  const digest = large?.oid ?? oid
  if (!isSize(bytes))
    throw new GraftError('HUB_FAILED', `${name}: the Hub lists ${path} with a size of ${shown(bytes)} bytes.`)
  if (!isDigest(digest))
    throw new GraftError('HUB_FAILED', `${name}: the Hub lists ${path} without a checksum.`)
  return { path: safe(path), size: bytes, digest }
}

/**
 * A repository's file names come from outside: none may lead out of its folder, by the rules of any system.
 * Throws ESCAPING_PATH.
 */
function safe(path: string): string {
  const parts = path.split(/[/\\]/)
  if (
    path.includes('\\') ||
    path.includes('\0') ||
    /^[A-Za-z]:/.test(path) ||
    parts.some((p) => p === '' || p === '.' || p === '..')
  )
    throw new GraftError(
      'ESCAPING_PATH',
      `The repository has a file named ${JSON.stringify(path)}, which leads out of its folder. Refused.`,
    )
  return path
}
