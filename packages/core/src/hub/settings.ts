import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { GraftError } from '../errors.js'
import { expandHome } from '../files/home.js'

/** Where the Hub is and what is known of it here: the environment variables of huggingface_hub. */
export interface HubSettings {
  endpoint: string
  cache: string
  token: string | undefined
  /** seconds without a word after which a server is given up (HF_HUB_DOWNLOAD_TIMEOUT) */
  patience: number
  /** never ask the network */
  offline: boolean
}

const truth = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '')

/** Throws BAD_ENDPOINT, BAD_TOKEN. */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const home = expandHome(env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface'))
  return {
    endpoint: endpointOf(env.HF_ENDPOINT ?? 'https://huggingface.co'),
    cache: expandHome(env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')),
    token: checkedToken(
      env.HF_TOKEN ??
        env.HUGGING_FACE_HUB_TOKEN ??
        readToken(expandHome(env.HF_TOKEN_PATH ?? join(home, 'token'))),
    ),
    patience: Number(env.HF_HUB_DOWNLOAD_TIMEOUT) || 15,
    offline: truth(env.HF_HUB_OFFLINE),
  }
}
function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
    return text.replace(/\/+$/, '')
  throw new GraftError(
    'BAD_ENDPOINT',
    'HF_ENDPOINT is no address of a Hub: expected https://host without a name and password in it (a token goes into HF_TOKEN).',
  )
}
/** A token goes into a header; what can't stand in one is a mistake in copying, and must not come back in an error. */
function checkedToken(token: string | undefined): string | undefined {
  const clean = token?.trim()
  if (clean === undefined || /^[\x21-\x7e]*$/.test(clean)) return clean || undefined
  throw new GraftError(
    'BAD_TOKEN',
    'HF_TOKEN holds characters that no token has: a blank, a line break or a typographic quote. Copy it again.',
  )
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
