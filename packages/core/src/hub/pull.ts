import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { isDigest, isIntact } from './checksum.js'
import { download, type RemoteFile } from './download.js'
import { hubError } from './errors.js'
import { type Listed, type Listing, list } from './list.js'
import { withoutSecrets } from './request.js'
import { type HubSettings, hubSettings, parseRepository, type Repository } from './settings.js'
import { makeFolder } from '../files/folders.js'

/** Which files of a repository, and how they are fetched. */
export interface PullOptions {
  /** glob patterns of the files wanted; what Graft can use when left out */
  include?: readonly string[]
  settings?: HubSettings
  signal?: AbortSignal
  onProgress?(state: { file: string; done: number; total: number }): void
  onNotice?(text: string): void
}
/** A repository, as it lies in the cache. */
export interface Pulled {
  /** the snapshot's folder in the cache */
  folder: string
  commit: string
  files: number
  /** bytes that had to be fetched */
  fetched: number
}

/**
 * Fetches a model or an adapter into the cache that huggingface_hub uses, in its layout; what is there
 * already is not fetched again, and what was fetched in part goes on. Without a network, or with
 * HF_HUB_OFFLINE=1, a snapshot from the cache is taken.
 *
 * @throws BAD_REPOSITORY, HUB_NOT_FOUND, HUB_UNAUTHORISED, HUB_FORBIDDEN, HUB_BUSY, HUB_FAILED, NO_NETWORK,
 * NOT_IN_CACHE, CHECKSUM, ESCAPING_PATH, DISK_FULL.
 */
export async function pull(name: string, options: PullOptions = {}): Promise<Pulled> {
  const repository = parseRepository(name)
  if (!repository)
    throw new GraftError(
      'BAD_REPOSITORY',
      `${name} is not a repository's name; expected owner/name, or owner/name@revision.`,
    )
  const settings = options.settings ?? hubSettings()
  const store = join(settings.cache, `models--${repository.name.replace('/', '--')}`)
  if (settings.offline) return cached(store, repository, options, 'HF_HUB_OFFLINE is set')
  let listed: Listing
  try {
    listed = await list(repository, settings, options.signal)
  } catch (cause) {
    const error = hubError(name, cause, settings)
    if (error.code !== 'NO_NETWORK' || !existsSync(refPath(store, repository))) throw error
    options.onNotice?.(
      `${withoutSecrets(settings.endpoint)} can't be reached; using the snapshot in the cache.`,
    )
    return cached(store, repository, options, 'the Hub can not be reached')
  }
  return fetchAll(store, repository, listed, settings, options)
}

/** The newest snapshot of a revision that the cache holds. */
function cached(store: string, { name, revision }: Repository, options: PullOptions, why: string): Pulled {
  const ref = refPath(store, { name, revision })
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : revision
  const folder = join(store, 'snapshots', commit)
  if (!/^\w[\w.-]*$/.test(commit) || !existsSync(folder))
    throw new GraftError(
      'NOT_IN_CACHE',
      `${name}@${revision}: not in the cache (${dirname(store)}), and ${why}. Pull it once with a network.`,
    )
  requireIntact(folder, options, why)
  return { folder, commit, files: 0, fetched: 0 }
}
/** A snapshot's links name the blobs they lead to, and those are named by their bytes. */
function requireIntact(folder: string, { include }: PullOptions, why: string): void {
  const names = readdirSync(folder, { recursive: true }).map((name) => String(name).replaceAll('\\', '/'))
  for (const { path } of wanted(
    names.map((name) => ({ path: name })),
    include,
  )) {
    const file = join(folder, path)
    const digest = lstatSync(file).isSymbolicLink() ? basename(readlinkSync(file)) : undefined
    if (isDigest(digest) && !isIntact(file, digest))
      throw new GraftError(
        'CHECKSUM',
        `${file}: the cache's copy is damaged or missing (its bytes are not those it is named by), and ${why}. Pull it again with a network, which replaces it.`,
      )
  }
}
const refPath = (store: string, { revision }: Repository): string => join(store, 'refs', revision)

/** What Graft reads of a model or an adapter; other frameworks' weights are left where they are. */
const useful = [
  '*.json',
  '*.safetensors',
  '*.txt',
  '*.model',
  '*.jinja',
  '*.md',
  'LICENSE*',
  '*.onnx_adapter',
]
const graphs = ['*.onnx', '*.onnx_data*', '*.onnx.data', 'onnx/model.onnx*', 'onnx/*.json']

/** Whether a glob (* stays within a folder's name unless the pattern has no slash) names a path. */
export function matches(pattern: string, path: string): boolean {
  const expression = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*\*\/?/g, '\u0000')
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]')
    .replaceAll('\u0000', '.*')
  return new RegExp(`^${expression}$`).test(path)
}
function wanted<File extends { path: string }>(files: readonly File[], include?: readonly string[]): File[] {
  const any = (patterns: readonly string[]) =>
    files.filter(({ path }) => patterns.some((p) => matches(p, path)))
  if (include) return any(include)
  const plain = any(useful)
  return plain.some(({ path }) => path.endsWith('.safetensors'))
    ? plain
    : [...new Set([...plain, ...any(graphs)])]
}

async function fetchAll(
  store: string,
  repository: Repository,
  { commit, files }: Listing,
  settings: HubSettings,
  options: PullOptions,
): Promise<Pulled> {
  const chosen = wanted(files, options.include)
  if (chosen.length === 0) throw nothingToPull(repository.name, files, options.include)
  const folder = join(store, 'snapshots', commit)
  const missing = chosen.filter(({ path, digest }) => !isIntact(join(folder, path), digest))
  const total = missing.reduce((sum, f) => sum + f.size, 0)
  requireRoom(settings.cache, total, repository.name)
  let done = 0
  for (const file of missing) {
    const blob = join(store, 'blobs', file.digest)
    const remote: RemoteFile = {
      path: file.path,
      url: `${settings.endpoint}/${repository.name}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
      size: file.size,
      digest: file.digest,
    }
    const onBytes = (count: number) => {
      done += count
      options.onProgress?.({ file: file.path, done, total })
    }
    const onWait = (seconds: number, why: string) =>
      options.onNotice?.(`${why}; trying again in ${seconds} s`)
    try {
      if (!isIntact(blob, file.digest)) {
        if (existsSync(blob)) options.onNotice?.(`${file.path} in the cache is damaged; fetching it again`)
        await download(remote, blob, { settings, signal: options.signal, onBytes, onWait })
      }
    } catch (cause) {
      throw hubError(`${repository.name}/${file.path}`, cause, settings)
    }
    try {
      await link(blob, join(folder, file.path))
    } catch (cause) {
      throw hubError(`${repository.name}/${file.path}`, cause, settings)
    }
  }
  if (repository.revision !== commit) {
    makeFolder(dirname(refPath(store, repository)))
    writeAtomically(refPath(store, repository), commit)
  }
  return { folder, commit, files: chosen.length, fetched: total }
}

function nothingToPull(name: string, files: readonly Listed[], include?: readonly string[]): GraftError {
  if (files.length === 0) return new GraftError('NOTHING_TO_PULL', `${name}: the repository holds no files.`)
  const first = files.slice(0, 8).map(({ path }) => path)
  const asked = include ? ` and ${include.join(', ')} names` : ''
  return new GraftError(
    'NOTHING_TO_PULL',
    `${name}: none of its ${files.length} files is one that Graft reads${asked}. It has ${first.join(', ')}.`,
  )
}

/** A snapshot's files are links to blobs, as huggingface_hub makes them; copies where links can't be had. */
async function link(blob: string, path: string): Promise<void> {
  makeFolder(dirname(path))
  rmSync(path, { force: true })
  try {
    symlinkSync(relative(dirname(path), blob), path)
  } catch {
    await copyFile(blob, path)
  }
}

function requireRoom(cache: string, bytes: number, name: string): void {
  makeFolder(cache)
  const { bavail, bsize } = statfsSync(cache)
  if (bytes > bavail * bsize)
    throw new GraftError(
      'DISK_FULL',
      `${name}: needs ${megabytes(bytes)}, ${cache} has room for ${megabytes(bavail * bsize)}. Free some space, or set HF_HUB_CACHE to another disk.`,
    )
}
const megabytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MB`

/**
 * A path as it is, or the snapshot of a repository named owner/name[@revision], pulled where it isn't in the cache.
 *
 * @throws what pull throws.
 */
export async function resolveModel(path: string, options: PullOptions = {}): Promise<string> {
  if (existsSync(path) || isFile.test(path) || !parseRepository(path)) return path
  try {
    return (await pull(path, options)).folder
  } catch (cause) {
    throw cause instanceof GraftError
      ? new GraftError(
          cause.code,
          `${path} is no folder here, so it is taken for a repository's name. ${cause.message}`,
          { cause },
        )
      : cause
  }
}
const isFile = /\.(onnx|gguf|safetensors|json|ya?ml)$/
