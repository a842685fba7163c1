import { Worker } from 'node:worker_threads'
import { GraftError } from '../errors.js'
import type { ChosenDevice } from './device.js'
import type { Tensors } from './tensor.js'
import type { Reply, Request } from './worker.js'

/** What a session is asked, without the numbers by which it and the answer are found. */
export type RequestBody = Request extends infer R
  ? R extends Request
    ? Omit<R, 'id' | 'session'>
    : never
  : never

/**
 * Megabytes of stack for a thread of sessions: Node's own 4, and what ONNX Runtime 1.30 takes to look through
 * the process's command line when it opens its first session, a frame of some 300 bytes for every character.
 * Beyond its stack the process would end without a word.
 */
const stackFor = ({ execArgv, argv }: NodeJS.Process): number =>
  4 + Math.ceil((Buffer.byteLength([...execArgv, ...argv].join(' ')) * 400) / 2 ** 20)

/**
 * A thread that holds sessions, and who waits for its answers: `run` blocks its thread, so timers, progress
 * and Ctrl-C stay alive here. One that nobody waits for doesn't keep the process from ending.
 */
export class Thread {
  /** All sessions on WebGPU share a thread: what ONNX Runtime keeps of the device may be touched from one alone. */
  private static gpu?: Thread
  private readonly worker = new Worker(new URL('./worker.js', import.meta.url), {
    resourceLimits: { stackSizeMb: stackFor(process) },
  })
  private readonly waiting = new Map<number, { resolve: (t: Tensors) => void; reject: (e: Error) => void }>()
  private requests = 0
  private opened = 0
  private sessions = 0

  static for(device: ChosenDevice): Thread {
    if (device !== 'webgpu') return new Thread()
    Thread.gpu ??= new Thread()
    return Thread.gpu
  }

  private constructor() {
    this.worker.unref()
    this.worker.on('message', ({ id, outputs, error }: Reply) => {
      const request = this.waiting.get(id)
      this.waiting.delete(id)
      if (this.waiting.size === 0) this.worker.unref()
      if (error === undefined) request?.resolve(outputs ?? {})
      else request?.reject(new GraftError('RUNTIME', `ONNX Runtime: ${error}`))
    })
    this.worker.on('error', (cause) => {
      if (Thread.gpu === this) Thread.gpu = undefined
      for (const { reject } of this.waiting.values())
        reject(new GraftError('RUNTIME', `The session's thread died: ${cause.message}`, { cause }))
      this.waiting.clear()
    })
  }

  /** The number of a session to come. */
  enter(): number {
    this.sessions++
    return ++this.opened
  }

  send(session: number, body: RequestBody, transfer: ArrayBuffer[] = []): Promise<Tensors> {
    const id = ++this.requests
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.worker.ref()
      this.worker.postMessage({ ...body, id, session }, transfer)
    })
  }

  /** Releases a session, unless the thread is its own and busy: then it ends at once. It ends with its last session. */
  async leave(session: number): Promise<void> {
    if (this.waiting.size === 0 || Thread.gpu === this)
      await this.send(session, { kind: 'release' }).catch(() => {})
    if (--this.sessions > 0) return
    if (Thread.gpu === this) Thread.gpu = undefined
    this.worker.ref()
    await this.worker.terminate()
  }
}
