import { unlessRefused } from './adapter-checks.js'
import { type Check, fail, open, toy, type ValidCase } from './cases.js'
import { type PeftMethod } from '@graft-peft/core'
import { type Storage } from './toys.js'

/** The loss at the method's own start and near it, on a toy that keeps the same matrices in another way. */
async function losses(method: PeftMethod, test: ValidCase, storage: Storage): Promise<number[]> {
  const bench = await open(method, test, toy(test, storage))
  const adapted = bench.adapt()
  return bench.forward(adapted, async (loss) => [
    await loss(adapted.variables.initial(0)),
    await loss(bench.moved(adapted)),
  ])
}
const kept: Readonly<Record<Exclude<Storage, 'plain'>, string>> = {
  turned:
    "stored [in, out], as GPT-2 does: site.weight.value has torch's orientation, site.weight.stored the file's",
  half: 'stored in bfloat16: read numbers with copyOf or numbersIn, not from bytes',
}

export const storages: Check = {
  name: 'weights mean the same however the file stores them',
  async run(method, test) {
    const plain = await losses(method, test, 'plain')
    for (const [storage, what] of Object.entries(kept)) {
      const found = await unlessRefused(() => losses(method, test, storage as Storage))
      if (!found) continue
      const off = found.findIndex(
        (v, i) => !(Math.abs(v - plain[i]) < 1e-4 * Math.max(1, Math.abs(plain[i]))),
      )
      if (off >= 0)
        fail(
          `the loss ${off === 0 ? 'at the start' : 'near the start'} is ${plain[off].toFixed(5)}, and ${found[off].toFixed(5)} where the same matrices are ${what}.`,
        )
    }
  },
}
