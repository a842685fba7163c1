import { GraftError } from '@graft-peft/core'
import type { Redis } from 'ioredis'

/** milliseconds between attempts to reach a Redis that is gone: longer and longer, never more than a quarter of a minute */
export const backOff = (attempt: number): number => Math.min(15_000, 100 * 2 ** Math.min(attempt, 8))

/**
 * A connection that waits for a Redis that goes away, and says so once per outage. Throws QUEUE_UNREACHABLE when it isn't there to begin with.
 */
export async function connect(url: string, onNotice: (text: string) => void): Promise<Redis> {
  const { Redis: Client } = await import('ioredis')
  requireAddress(url)
  const first = new Client(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: patience,
    commandTimeout: patience,
  })
  let why: Error | undefined
  first.on('error', (error) => (why ??= error))
  try {
    await Promise.race([first.connect().then(() => first.ping()), silence()])
  } catch (cause) {
    throw new GraftError(
      'QUEUE_UNREACHABLE',
      `${withoutPassword(url)}: ${meaning(why ?? (cause as Error))}`,
      { cause },
    )
  } finally {
    first.disconnect()
  }
  return lasting(new Client(url, { maxRetriesPerRequest: null, retryStrategy: backOff }), url, onNotice)
}

function lasting(connection: Redis, url: string, onNotice: (text: string) => void): Redis {
  let away = false
  connection.on('error', () => {})
  connection.on('close', () => {
    if (!away && connection.status !== 'end')
      onNotice(`${withoutPassword(url)} is gone; waiting for it to come back.`)
    away = true
  })
  connection.on('ready', () => {
    if (away) onNotice(`${withoutPassword(url)} is back.`)
    away = false
  })
  return connection
}
/** milliseconds for a first word */
const patience = 5000
const silence = (): Promise<never> =>
  new Promise((_, fail) => setTimeout(() => fail(new Error('it accepts and says nothing')), patience).unref())

/** Throws BAD_QUEUE_URL, without what may be a password. */
function requireAddress(url: string): void {
  if (URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol)) return
  throw new GraftError(
    'BAD_QUEUE_URL',
    'The address of the queue is none: expected redis://host:6379 or rediss://:password@host:6379. In a password, write / as %2F, @ as %40 and : as %3A.',
  )
}
/** What an error of the connection comes down to, and what to do. */
function meaning({ message }: Error): string {
  if (/NOAUTH|WRONGPASS|invalid password|no password/i.test(message))
    return `Redis asks for a password, or refuses this one (${message}). Give it in the address: redis://:password@host:6379.`
  if (/certificate|self.signed|unable to verify|SSL|TLS|wrong version number/i.test(message))
    return `no connection by TLS (${message}). Name the authority in NODE_EXTRA_CA_CERTS, or use redis:// where the server has no TLS.`
  if (/RESP type/.test(message)) return 'what answers there is no Redis. Correct the address.'
  return `no Redis answers there (${message}). Start one (redis-server, or Valkey), or correct the address.`
}
/** An address as it may be shown: without a name and password, whatever they contain. */
const withoutPassword = (url: string): string => url.replace(/\/\/.*@/, '//')
