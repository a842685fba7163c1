import { note, screen } from './output.js'

/** Ctrl-C and SIGTERM: the first asks to stop and `says` so, the second ends the process at once. */
export function interruptible(says?: string): { signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const interrupt = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) return endBy(name)
    controller.abort()
    if (says) note(says)
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: controller.signal,
    release: () => void process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}

/** Items until the signal; the one that is waited for then is waited for no longer, nor is standard input. */
export async function* until<T>(signal: AbortSignal, items: AsyncIterable<T>): AsyncGenerator<T> {
  const stopped = new Promise<undefined>((resolve) =>
    signal.addEventListener('abort', () => resolve(undefined), { once: true }),
  )
  const iterator = items[Symbol.asyncIterator]()
  try {
    while (!signal.aborted) {
      const next = await Promise.race([iterator.next(), stopped])
      if (!next || next.done) break
      yield next.value
    }
  } finally {
    if (signal.aborted) process.stdin.destroy()
    else await iterator.return?.()
  }
}

/** Ends this process by a signal: process.exit would take ONNX Runtime down while it computes, which aborts. */
export function endBy(name: NodeJS.Signals): void {
  screen.close()
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}
