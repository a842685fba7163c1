import { note, screen } from './output.js'

/** Ctrl-C and SIGTERM: the first asks to stop after `says`, the second ends the process at once. */
export function interruptible(says: string): { signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const interrupt = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) return endBy(name)
    controller.abort()
    note(says)
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: controller.signal,
    release: () => void process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}

/** Ends this process by a signal: process.exit would take ONNX Runtime down while it computes, which aborts. */
export function endBy(name: NodeJS.Signals): void {
  screen.close()
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}
