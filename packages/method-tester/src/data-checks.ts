import { type Check, fail, open } from './cases.js'

const close = (a: number, b: number): boolean => Math.abs(a - b) < 2e-5 * Math.max(1, Math.abs(b))

/** Batches of one and of five, short and long: what is baked into the graph shows, and so does what rows tell each other. */
export const rowsApart: Check = {
  name: 'batches of any size and length give each row its own loss',
  async run(method, test) {
    const bench = await open(method, test)
    const adapted = bench.adapt()
    const parameters = bench.moved(adapted)
    await bench.forward(adapted, async (loss) => {
      const examples = bench.examplesOf([7, 5, 11, 3, 6])
      const run = async (rows: typeof examples, pad = 0): Promise<number> => {
        try {
          return await loss(parameters, { examples: rows, pad })
        } catch (cause) {
          const longest = Math.max(...rows.map((e) => e.ids.length))
          return fail(
            `a batch of ${rows.length} rows and ${longest} tokens fails: ${(cause as Error).message} Are sizes of a batch baked in? Ask shapeOf, or g.dim for one that is only known when the graph runs.`,
          )
        }
      }
      const together = await run(examples)
      let apart = 0
      for (const example of examples) apart += await run([example])
      if (!close(together, apart))
        fail(
          `the loss of five rows in one batch is ${together.toFixed(5)}, of the same rows one by one ${apart.toFixed(5)}: what one row gets must not depend on other rows, nor on how far it is filled up (attention_mask says where).`,
        )
      const filled = await run(examples, 5)
      if (!close(filled, together))
        fail(
          `the loss is ${together.toFixed(5)} where texts are filled up with token 0, and ${filled.toFixed(5)} with token 5: is what stands at filled positions, or for virtual tokens, read?`,
        )
    })
  },
}

/** Tokens from here on are replaced, and not supervised. */
const seen = 4

export const causal: Check = {
  name: 'a position knows nothing of the tokens after it',
  async run(method, test) {
    if (test.model === 'encoder') return
    const bench = await open(method, test)
    const adapted = bench.adapt()
    const examples = bench.examples.map((e) => ({
      ...e,
      tokenLabels: e.ids.map((id, i) => (i < seen ? id : -100)),
    }))
    const others = examples.map((e) => ({
      ...e,
      ids: e.ids.map((id, i) => (i < seen ? id : 3 + ((id + 5) % 20))),
    }))
    const parameters = bench.moved(adapted)
    await bench.forward(adapted, async (loss) => {
      const [before, after] = [
        await loss(parameters, { examples }),
        await loss(parameters, { examples: others }),
      ]
      if (!close(after, before))
        fail(
          `the loss at the first ${seen} tokens is ${before.toFixed(5)}, and ${after.toFixed(5)} once later tokens are others: a language model would read what it is to write. Mix positions only where the mask lets attention look.`,
        )
    })
  },
}
