import { type PeftMethod } from '@graft-peft/core'
import { Bench } from './harness.js'
import { type Check, fail, nothing, open, type ValidCase } from './cases.js'
import { slopes } from './slopes.js'

/** Options of a method that say how much dropout there is. */
const dropouts = ({ configSchema }: PeftMethod): string[] =>
  Object.entries((configSchema as { properties?: Record<string, { type?: string }> }).properties ?? {})
    .filter(([name, property]) => /drop/.test(name) && property.type === 'number')
    .map(([name]) => name)
const withDropout = (method: PeftMethod, test: ValidCase, p: number): ValidCase => ({
  ...test,
  config: { ...test.config, ...Object.fromEntries(dropouts(method).map((name) => [name, p])) },
})
const near = (a: number, b: number, by: number): boolean => Math.abs(a - b) < by * Math.max(1, Math.abs(b))

export const evaluates: Check = {
  name: 'evaluation has no dropout and no noise',
  async run(method, test) {
    const bench = await open(method, withDropout(method, test, 0.5))
    const adapted = bench.adapt()
    if (adapted.dropoutSeed)
      return fail(
        'noise or dropout is there in evaluation too: take both from the context, which leaves them out.',
      )
    const parameters = bench.moved(adapted)
    await bench.forward(adapted, async (loss) => {
      const [first, second] = [await loss(parameters), await loss(parameters)]
      if (first !== second)
        fail(
          `the same model gives the loss ${first} and then ${second}: does the graph draw numbers of its own? Take dropout(…) and noise(…) from the context.`,
        )
    })
  },
}

export const trains: Check = {
  name: 'the graph of training is that of evaluation but for dropout and noise',
  async run(method, test) {
    const bench = await open(method, withDropout(method, test, 1e-7))
    const [training, evaluation] = [bench.adapt({ training: true }), bench.adapt()]
    const parameters = bench.moved(evaluation)
    const noisy = bench.adapt({
      training: true,
      methodOptions: bench.configWith(withDropout(method, test, 0).config),
    }).dropoutSeed
    const [trained, evaluated] = [
      await bench.loss(training, parameters),
      await bench.loss(evaluation, parameters),
    ]
    if (!Number.isFinite(trained)) fail(`the loss of training is ${trained}.`)
    if (!noisy && !near(trained, evaluated, 1e-4))
      fail(
        `training computes the loss ${trained.toFixed(5)} where evaluation computes ${evaluated.toFixed(5)}, with no element dropped: does the path under dropout have the same factors?`,
      )
  },
}

export const drops: Check = {
  name: 'dropout drops, and only from what is added to the base',
  async run(method, test) {
    for (const name of dropouts(method)) {
      const bench = await open(method, { ...test, config: { ...test.config, [name]: 0.5 } })
      const adapted = bench.adapt({ training: true })
      const parameters = bench.moved(adapted)
      const start = adapted.variables.initial(0)
      if (!adapted.dropoutSeed)
        return fail(
          `${name}: 0.5 drops nothing: apply dropout(x, options.${name}, site.path) to what the adapter reads.`,
        )
      await bench.forward(adapted, async (loss) => {
        const [one, other] = [await loss(parameters, { seed: 1 }), await loss(parameters, { seed: 2 })]
        if (one === other) fail(`${name}: 0.5 drops the same in every step.`)
        if (!method.startsAsIdentity(bench.configWith({}))) return
        const none = await Bench.open(bench.base, nothing, {})
        const base = none.adapt()
        const [untrained, expected] = [await loss(start), await none.loss(base, base.variables.initial(0))]
        if (!near(untrained, expected, 1e-4))
          fail(
            `under ${name}: 0.5 the untrained model's loss is ${untrained.toFixed(5)}, the base's ${expected.toFixed(5)}: drop from what the adapter reads or adds, never from what the base computes.`,
          )
      })
      await slopes(bench, { training: true, skipped: test.detached })
    }
  },
}
