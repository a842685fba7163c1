import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expandHome } from '../files/home.js'

/** Where the Hub is and what is known of it here: the environment variables of huggingface_hub. */
export interface HubSettings {
  endpoint: string
  cache: string
  token: string | undefined
  /** never ask the network */
  offline: boolean
}

const truth = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '')

export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const home = expandHome(env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface'))
  return {
    endpoint: (env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, ''),
    cache: expandHome(env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')),
    token:
      env.HF_TOKEN ??
      env.HUGGING_FACE_HUB_TOKEN ??
      readToken(expandHome(env.HF_TOKEN_PATH ?? join(home, 'token'))),
    offline: truth(env.HF_HUB_OFFLINE),
  }
}
function readToken(path: string): string | undefined {
  const text = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  return text === '' ? undefined : text
}

/** owner/name, with a branch, tag or commit after @ */
export interface Repository {
  name: string
  revision: string
}
const pattern = /^([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})(?:@([\w][\w./-]{0,254}))?$/

/** A repository's name, or undefined for what isn't one. */
export function parseRepository(text: string): Repository | undefined {
  const [, name, revision = 'main'] = text.match(pattern) ?? []
  return name && !revision.includes('..') && !name.includes('..') ? { name, revision } : undefined
}
