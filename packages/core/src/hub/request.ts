import { GraftError } from '../errors.js'
import type { HubSettings } from './settings.js'

/** A response's status as an error that hubError knows. */
export class StatusError extends Error {
  constructor(readonly statusCode: number) {
    super(`status ${statusCode}`)
  }
}
/** A server that says nothing for so long. */
export class Silence extends Error {
  constructor(seconds: number) {
    super(`nothing came for ${seconds} s`)
  }
}

/** Fails when a promise takes longer than the settings' patience. */
async function inTime<T>(coming: Promise<T>, { patience }: HubSettings): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Silence(patience)), patience * 1000)
  })
  return Promise.race([coming, late]).finally(() => clearTimeout(timer))
}

interface Ask {
  headers?: Record<string, string>
  signal?: AbortSignal
}
/**
 * A request with the user's token, which goes to the Hub's own host alone: a redirection elsewhere loses it.
 * Throws Silence.
 */
export async function ask(
  url: string | URL,
  settings: HubSettings,
  { headers, signal }: Ask = {},
): Promise<Response> {
  const { token } = settings
  const stop = new AbortController()
  const signals = signal ? [signal, stop.signal] : [stop.signal]
  const own = { ...headers, ...(token ? { authorization: `Bearer ${token}` } : {}) }
  try {
    return await inTime(fetch(url, { headers: own, signal: AbortSignal.any(signals) }), settings)
  } catch (error) {
    stop.abort()
    throw error
  }
}

/** The bytes of an answer as they come. Throws Silence. */
export async function* chunks(response: Response, settings: HubSettings): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader()
  if (!reader) return
  try {
    for (;;) {
      const { done, value } = await inTime(reader.read(), settings)
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

/** bytes of one page of a listing */
const longest = 2 ** 26
/**
 * An answer in JSON, with the page that follows it. Throws StatusError, Silence, and HUB_FAILED for what is
 * no JSON of sensible length.
 */
export async function askJson(
  url: string | URL,
  settings: HubSettings,
  signal?: AbortSignal,
): Promise<{ value: unknown; next?: string }> {
  const response = await ask(url, settings, { signal })
  if (!response.ok) throw new StatusError(response.status)
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks(response, settings)) {
    size += chunk.length
    if (size > longest) throw odd(url, `answers with more than ${longest} bytes`)
    parts.push(chunk)
  }
  const next = response.headers.get('link')?.match(/<([^>]*)>\s*;\s*rel="?next"?/)?.[1]
  try {
    return { value: JSON.parse(Buffer.concat(parts).toString()), next }
  } catch {
    throw odd(url, 'answers with something that is not JSON, as a proxy or a login page does')
  }
}
/** What a Hub does not do. */
export const odd = (url: string | URL, what: string): GraftError =>
  new GraftError(
    'HUB_FAILED',
    `${withoutSecrets(String(url))} ${what}. Is HF_ENDPOINT right, and does nothing stand between?`,
  )
/** An address without a name and password in it. */
export const withoutSecrets = (url: string): string => url.replace(/\/\/[^/]*@/, '//')
