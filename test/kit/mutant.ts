import type { PeftMethod } from '@graft-peft/core'
import type { ValidCase } from '@graft-peft/method-tester'

/** A planted fault, and what the kit must say of it. */
export interface Mutant {
  kind: string
  what: string
  method: PeftMethod
  /** the check that must catch it, by the beginning of its name */
  check: string
  caught: RegExp
  test?: ValidCase
}
