import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { GraftError } from '../errors.js'

/** A text or two as tokens. */
export interface Encoded {
  ids: number[]
  /** 0 for the first text, 1 for the second */
  types: number[]
}
/** The same with where each token stands. */
export interface Placed extends Encoded {
  /** 1 for tokens that the tokenizer put around the text */
  special: number[]
  /** from and to of each token in its text, in characters (code points) */
  offsets: number[][]
}
export interface ToEncode {
  text: string
  pair?: string
  /** with the tokens that the model has around a text */
  special: boolean
  /** tokens at most: of two texts the longer is cut first, and what goes around them stays */
  most?: number
  /** with where the tokens stand */
  places?: boolean
}
export type Question =
  | { kind: 'open'; json: string; apart: boolean }
  | ({ kind: 'encode'; tokenizer: number } & ToEncode)
  | { kind: 'decode'; tokenizer: number; ids: readonly number[]; skipSpecial: boolean }
  | { kind: 'id'; tokenizer: number; token: string }
export type Answer = { value: unknown } | { error: string }
/** What goes to the thread and comes back has the question's number: one that was given up may be answered later. */
export type Numbered<T> = { number: number; said: T }

/** Milliseconds after which a tokenizer is taken for one that never ends. */
const patience = 120_000

/** Whether a regular expression of a tokenizer repeats a group: what tries 2ⁿ ways to match n letters does. */
const mayTryForEver = (json: string): boolean =>
  [...json.matchAll(/"Regex"\s*:\s*("(?:[^"\\]|\\.)*")/g)].some(([, p]) => /\)[*+{]/.test(JSON.parse(p)))

/** A thread that asks Hugging Face's tokenizers, and hands their answers over while its caller waits. */
class Thread {
  private readonly flag = new Int32Array(new SharedArrayBuffer(4))
  private readonly port
  private asked = 0

  constructor() {
    const { port1, port2 } = new MessageChannel()
    this.port = port1
    const worker = new Worker(new URL('./tokenizer-worker.js', import.meta.url), {
      workerData: { port: port2, flag: this.flag },
      transferList: [port2],
    })
    worker.unref()
    port1.unref()
  }

  /** Throws BAD_TOKENIZER. */
  ask<T>(question: Question): T {
    const number = ++this.asked
    this.port.postMessage({ number, said: question } satisfies Numbered<Question>)
    const answer = this.answerTo(number, Date.now() + patience)
    if (!answer)
      throw new GraftError('BAD_TOKENIZER', `the tokenizer gave no answer in ${patience / 1000} seconds.`)
    if ('error' in answer) throw new GraftError('BAD_TOKENIZER', answer.error)
    return answer.value as T
  }
  private answerTo(number: number, until: number): Answer | undefined {
    // Whoever is woken looks whether it was for this: the word for the answer before may come late.
    for (let last = Atomics.load(this.flag, 0); last !== number; last = Atomics.load(this.flag, 0))
      if (Atomics.wait(this.flag, 0, last, until - Date.now()) === 'timed-out') return undefined
    for (;;) {
      const answer = receiveMessageOnPort(this.port)?.message as Numbered<Answer> | undefined
      if (!answer || answer.number === number) return answer?.said
    }
  }
}
let thread: Thread | undefined

/** Hugging Face's own tokenizers (the npm package of that name) on a tokenizer.json. */
export class NativeTokenizer {
  private constructor(private readonly handle: number) {}

  /** Throws BAD_TOKENIZER for what isn't a tokenizer's file. */
  static open(json: string): NativeTokenizer {
    thread ??= new Thread()
    return new NativeTokenizer(thread.ask<number>({ kind: 'open', json, apart: mayTryForEver(json) }))
  }
  private ask<T>(question: Question): T {
    return (thread as Thread).ask<T>(question)
  }

  /** A text, or a pair of texts. Throws BAD_TOKENIZER. */
  encode(what: ToEncode & { places: true }): Placed
  encode(what: ToEncode): Encoded
  encode(what: ToEncode): Encoded {
    return this.ask({ kind: 'encode', tokenizer: this.handle, ...what })
  }
  decode(ids: readonly number[], skipSpecial: boolean): string {
    return this.ask({ kind: 'decode', tokenizer: this.handle, ids, skipSpecial })
  }
  idOf(token: string): number | undefined {
    return this.ask<number | null>({ kind: 'id', tokenizer: this.handle, token }) ?? undefined
  }
}
