import { GraftError } from '@graft-peft/core'
import type { Redis } from 'ioredis'

/** milliseconds between attempts to reach a Redis that is gone: longer and longer, never more than a quarter of a minute */
export const backOff = (attempt: number): number => Math.min(15_000, 100 * 2 ** Math.min(attempt, 8))

/**
 * A connection that waits for a Redis that goes away, and says so once per outage. Throws QUEUE_UNREACHABLE when it isn't there to begin with.
 */
export async function connect(url: string, onNotice: (text: string) => void): Promise<Redis> {
  const { Redis: Client } = await import('ioredis')
  const first = new Client(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: 5000,
  })
  first.on('error', () => {})
  try {
    await first.connect()
    await first.ping()
  } catch (cause) {
    throw new GraftError(
      'QUEUE_UNREACHABLE',
      `${withoutPassword(url)}: no Redis answers there (${(cause as Error).message}). Start one (redis-server, or Valkey), or correct the address.`,
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
const withoutPassword = (url: string): string => url.replace(/\/\/[^@/]*@/, '//')
