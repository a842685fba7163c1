import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { GraftError } from '../errors.js'
import { readObject } from '../files/json.js'
import { hubName, modelCard } from './card.js'
import { hubError } from './errors.js'
import { type HubSettings, hubSettings, parseRepository } from './settings.js'

/** How a folder is uploaded. */
export interface PushOptions {
  private?: boolean
  /** of the commit */
  message?: string
  settings?: HubSettings
  signal?: AbortSignal
}
/** What was uploaded, and where it is. */
export interface Pushed {
  url: string
  files: string[]
}

/**
 * Uploads an adapter's or a model's folder as a repository, which is made where it isn't there. A model card
 * is written from the run where the folder has none.
 *
 * @throws BAD_REPOSITORY, NO_ADAPTER, NO_TOKEN, and the Hub's errors, as pull does.
 */
export async function push(folder: string, name: string, options: PushOptions = {}): Promise<Pushed> {
  const settings = options.settings ?? hubSettings()
  const repository = parseRepository(name)
  if (!repository)
    throw new GraftError(
      'BAD_REPOSITORY',
      `${name} is not a repository's name; expected owner/name, or owner/name@branch.`,
    )
  if (!existsSync(join(folder, 'adapter_config.json')) && !existsSync(join(folder, 'config.json')))
    throw new GraftError(
      'NO_ADAPTER',
      `${folder}: neither adapter_config.json nor config.json is there, so it is no adapter and no model.`,
    )
  if (!settings.token)
    throw new GraftError(
      'NO_TOKEN',
      'Pushing needs a token with the right to write: set HF_TOKEN, or run "hf auth login".',
    )
  const access = { hubUrl: settings.endpoint, accessToken: settings.token }
  const repo = { type: 'model' as const, name: repository.name }
  const paths = filesIn(folder)
  const files = paths.map((path) => ({
    path,
    content: manifests.has(path) ? withoutPaths(folder, path) : pathToFileURL(join(folder, path)),
  }))
  const card = paths.includes('README.md')
    ? []
    : [{ path: 'README.md', content: new Blob([modelCard(folder, repository.name)]) }]
  try {
    const { createRepo, HubApiError, uploadFiles } = await import('@huggingface/hub')
    await createRepo({ repo, private: options.private, ...access }).catch((error) => {
      if (!(error instanceof HubApiError) || error.statusCode !== 409) throw error
    })
    await uploadFiles({
      repo,
      files: [...files, ...card],
      branch: repository.revision,
      commitTitle: options.message ?? 'Upload with Graft',
      abortSignal: options.signal,
      ...access,
    })
  } catch (cause) {
    throw hubError(name, cause, settings)
  }
  return { url: `${settings.endpoint}/${repository.name}`, files: [...paths, ...card.map((c) => c.path)] }
}

/**
 * Files that say where the base model lies; elsewhere a path of this machine means nothing, and is nobody's
 * business.
 */
const manifests = new Set(['graft.json', 'adapter_config.json'])
function withoutPaths(folder: string, name: string): Blob {
  const content = readObject(join(folder, name), 'BAD_ADAPTER')
  for (const key of ['model', 'base_model_name_or_path'])
    if (typeof content[key] === 'string') content[key] = hubName(content[key]) ?? basename(content[key])
  return new Blob([`${JSON.stringify(content, null, 2)}\n`])
}

/** All files below a folder but hidden ones, as paths with slashes. */
function filesIn(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below))
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) => {
      const path = below === '' ? name : `${below}/${name}`
      return statSync(join(folder, path)).isDirectory() ? filesIn(folder, path) : [path]
    })
}
