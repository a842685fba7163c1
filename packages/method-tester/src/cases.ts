import { type PeftMethod } from '@graft-peft/core'
import { Bench } from './harness.js'
import { toyDecoder, toyEncoder } from './toys.js'

export interface ValidCase {
  config: Record<string, unknown>
  /** which toy model: a causal language model (default), or a classifier with biases */
  model?: 'decoder' | 'encoder'
  /** variables whose gradient is cut on purpose (StopGradient), so that differences of the loss don't show it */
  detached?: readonly string[]
}

export interface InvalidCase {
  config: Record<string, unknown>
  /** what the message must say */
  error: RegExp
}

export interface MethodCases {
  valid: readonly ValidCase[]
  invalid?: readonly InvalidCase[]
}

export interface Check {
  name: string
  run(method: PeftMethod, test: ValidCase): Promise<void>
}

/** Fails a check with what to look at. */
export class Failed extends Error {}

export const fail = (message: string): never => {
  throw new Failed(message)
}

export const toy = ({ model = 'decoder' }: ValidCase) => (model === 'decoder' ? toyDecoder() : toyEncoder())

export const open = (method: PeftMethod, test: ValidCase): Promise<Bench> =>
  Bench.open(toy(test), method, test.config)

export const greatest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((m, v, i) => Math.max(m, Number.isFinite(v) ? Math.abs(v - b[i]) : Number.POSITIVE_INFINITY), 0)

/** A method that changes nothing: one unused parameter. */
export const nothing: PeftMethod = {
  kind: 'method',
  name: 'nothing',
  apiVersion: 1,
  peftType: 'NOTHING',
  configSchema: { type: 'object' },
  summary: '',
  mergeable: true,
  startsAsIdentity: () => true,
  attach: ({ param }) => {
    param('unused', { shape: [1], init: () => new Float32Array(1) })
    return { merge: () => [] }
  },
}
