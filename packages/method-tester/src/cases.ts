import { type PeftMethod } from '@graft-peft/core'
import { Bench } from './harness.js'
import { type Storage, toyDecoder, toyEncoder } from './toys.js'

export interface ValidCase {
  config: Record<string, unknown>
  /** which toy model: a causal language model (default), or a classifier with biases */
  model?: 'decoder' | 'encoder'
  /** variables whose gradient is cut on purpose (StopGradient), so that differences of the loss don't show it */
  detached?: readonly string[]
  /** checks that don't hold of it, by the beginning of their names, each with why */
  except?: Readonly<Record<string, string>>
}

export interface InvalidCase {
  config: Record<string, unknown>
  /** what the message must say */
  error: RegExp
}

export interface MethodCases {
  valid: readonly ValidCase[]
  invalid?: readonly InvalidCase[]
  /** options that change nothing here on purpose: HF PEFT's for what Graft finds out by itself */
  idle?: readonly string[]
}

export interface Check {
  name: string
  run(method: PeftMethod, test: ValidCase): Promise<void>
}

/** The checks that a case is to pass. Throws for an exception from no check. */
export function applying<C extends { name: string }>(all: readonly C[], { except = {} }: ValidCase): C[] {
  const begins = ({ name }: C) => Object.keys(except).some((from) => name.startsWith(from))
  const unknown = Object.keys(except).find((from) => !all.some((c) => c.name.startsWith(from)))
  if (unknown !== undefined)
    throw new Failed(`except names "${unknown}", which is the beginning of no check.`)
  return all.filter((c) => !begins(c))
}

/** Fails a check with what to look at. */
export class Failed extends Error {}

export const fail = (message: string): never => {
  throw new Failed(message)
}

export const toy = ({ model = 'decoder' }: ValidCase, storage?: Storage) =>
  model === 'decoder' ? toyDecoder(storage) : toyEncoder(storage)

export const open = (method: PeftMethod, test: ValidCase, base = toy(test)): Promise<Bench> =>
  Bench.open(base, method, test.config)

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
