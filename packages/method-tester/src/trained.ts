import { type PeftMethod } from '@graft-peft/core'
import { readBytes } from '@graft-peft/onnx'
import { type ValidCase, open, toy } from './cases.js'
import { Bench, type Trained } from './harness.js'

/** Steps of the run that several checks look at. */
export const steps = 12
interface Run extends Trained {
  bench: Bench
  /** the first of the base's weights that the method wrote into */
  written?: string
}
const runs = new WeakMap<ValidCase, WeakMap<PeftMethod, Promise<Run>>>()

/** A method's first steps under a case, trained once. */
export function trained(method: PeftMethod, test: ValidCase): Promise<Run> {
  const own = runs.get(test) ?? new WeakMap<PeftMethod, Promise<Run>>()
  runs.set(test, own)
  const run = own.get(method) ?? train(method, test)
  own.set(method, run)
  return run
}

async function train(method: PeftMethod, test: ValidCase): Promise<Run> {
  const base = toy(test)
  const weights = base.graph.constants().filter((v) => v.data)
  const before = weights.map((v) => Buffer.from(readBytes(v.data!)))
  const bench = await open(method, test, base)
  const run = await bench.train(1, steps)
  const written = weights.find((v, i) => !before[i].equals(Buffer.from(readBytes(v.data!))))
  return { ...run, bench, written: written?.name }
}
