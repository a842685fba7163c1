import { diskError } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { Silence, withoutSecrets } from './request.js'
import type { HubSettings } from './settings.js'

type Said = (what: string, settings: HubSettings, cause: unknown) => GraftError
const byStatus: Readonly<Record<number, Said>> = {
  401: (what, { token }, cause) =>
    new GraftError(
      'HUB_UNAUTHORISED',
      `${what}: the Hub asks who you are (401). ${token ? 'The token is not valid, or has no right to it' : 'It may be private, gated or misspelt; set HF_TOKEN, or run "hf auth login"'}.`,
      { cause },
    ),
  403: (what, _, cause) =>
    new GraftError(
      'HUB_FORBIDDEN',
      `${what}: the Hub refuses (403). Accept its licence on the Hub, or use a token with the right to it.`,
      { cause },
    ),
  404: (what, _, cause) =>
    new GraftError('HUB_NOT_FOUND', `${what}: not on the Hub (404). Check owner, name and revision.`, {
      cause,
    }),
  429: (what, _, cause) =>
    new GraftError(
      'HUB_BUSY',
      `${what}: too many requests (429). Wait some minutes and try again; with a token the limit is higher.`,
      { cause },
    ),
}

/** What a failed request to the Hub comes down to, in one line. */
export function hubError(what: string, cause: unknown, settings: HubSettings): GraftError {
  if (cause instanceof GraftError) return cause
  const status = (cause as { statusCode?: number }).statusCode
  const known = status === undefined ? undefined : byStatus[status]
  if (known) return known(what, settings, cause)
  if (status !== undefined)
    return new GraftError('HUB_FAILED', `${what}: the Hub answers with status ${status}. Try again later.`, {
      cause,
    })
  const disk = diskError(cause)
  if (disk instanceof GraftError) return disk
  if (!isOfNetwork(cause))
    return new GraftError(
      'HUB_FAILED',
      `${what}: the Hub's answer can't be used (${(cause as Error).message}).`,
      { cause },
    )
  return new GraftError(
    'NO_NETWORK',
    `${what}: ${withoutSecrets(settings.endpoint)} can't be reached (${reason(cause)}). Check the network; with everything in the cache, HF_HUB_OFFLINE=1 works without it.`,
    { cause },
  )
}
/**
 * Node's fetch says "fetch failed" with the reason within, or "terminated" when a connection breaks; others
 * are cut off by time.
 */
const isOfNetwork = (cause: unknown): boolean =>
  cause instanceof Silence ||
  ['AbortError', 'TimeoutError'].includes((cause as Error).name) ||
  /fetch failed|terminated|connection ended|other side closed/.test((cause as Error).message)
const reason = (cause: unknown): string => {
  const inner = (cause as { cause?: { code?: string; message?: string } }).cause
  return inner?.code ?? inner?.message ?? (cause as Error).message
}
