import { type Adapted, validate } from '@graft-peft/core/inside'
import { Bench } from './harness.js'
import { slopes } from './slopes.js'
import { steps, trained } from './trained.js'
import { causal, rowsApart } from './data-checks.js'
import { drops, evaluates, trains } from './training-checks.js'
import { type Check, fail, open, greatest } from './cases.js'
import { saves, merges, isolated } from './adapter-checks.js'
import { chosen, refused } from './target-checks.js'
import { storages } from './weight-checks.js'
import { nothing } from './cases.js'

const schema: Check = {
  name: 'the options have a schema with defaults',
  async run(method, { config }) {
    const result = validate<Record<string, unknown>>(method.configSchema, config)
    if (!('value' in result))
      return fail(
        `configSchema refuses a config that should be valid: ${result.complaints.map((c) => `${c.path.join('.')}: ${c.message}`).join('; ')}`,
      )
    const { properties = {}, additionalProperties } = method.configSchema as {
      properties?: object
      additionalProperties?: unknown
    }
    if (additionalProperties !== false)
      fail(
        'configSchema lets unknown options pass: set additionalProperties: false, so that a misspelt option is an error.',
      )
    for (const key of Object.keys(properties))
      if (result.value[key] === undefined)
        fail(
          `option ${key} has no default and the config leaves it out: give it one in configSchema, or list it under required.`,
        )
  },
}

const seeded: Check = {
  name: 'the same seed gives the same start',
  async run(method, test) {
    const [bench, again] = [await open(method, test), await open(method, test)]
    const [first, second] = [bench.adapt(), again.adapt()]
    const names = (a: Adapted) => a.variables.list.map((v) => `${v.name} [${v.shape}]`).join()
    if (names(first) !== names(second))
      fail('two attachments under one config declare different variables: the config alone must decide them.')
    const [a, b] = [first.variables.initial(0), second.variables.initial(0)]
    const where = first.variables.list.find((v) =>
      a.subarray(v.offset, v.offset + v.size).some((x, i) => x !== b[v.offset + i]),
    )
    if (where)
      fail(
        `${where.name} starts from other numbers each time: draw them from the \`random\` that init is given, never from Math.random.`,
      )
    for (const [i, buffer] of first.buffers.entries())
      if (greatest(buffer.data, second.buffers[i].data) > 0)
        fail(
          `buffer ${buffer.name} differs each time: draw it from the \`random\` that init is given, or from a seed among the options.`,
        )
    if (first.state && greatest(first.state.initial(0), second.state?.initial(0) ?? new Float32Array()) > 0)
      fail('what state(…) starts from differs each time: draw it from the `random` that init is given.')
    const [one, other] = [await bench.loss(first, a), await again.loss(second, b)]
    if (one !== other)
      fail(
        `the loss differs each time, ${one} and ${other}, under the same parameters: is a number drawn while the graph is built? Declare it with buffer(…).`,
      )
  },
}

const identity: Check = {
  name: 'starts from the base exactly where it says so',
  async run(method, test) {
    const bench = await open(method, test)
    const none = await Bench.open(bench.base, nothing, {})
    const [own, base] = [bench.adapt(), none.adapt()]
    const parameters = own.variables.initial(0)
    const [adapted, before] = [
      await bench.loss(own, parameters),
      await none.loss(base, base.variables.initial(0)),
    ]
    const difference = Math.abs(adapted - before)
    const declared = method.startsAsIdentity(bench.configWith({}))
    if (declared && !(difference < 1e-4))
      fail(
        `startsAsIdentity says the untrained model equals the base, but its loss is ${adapted.toFixed(5)} where the base's is ${before.toFixed(5)}: is one factor of the update zero at the start?`,
      )
    if (!declared && difference < 1e-7)
      fail(
        'startsAsIdentity says the untrained model differs from the base, but they agree: is the update reached from the output?',
      )
  },
}
const gradients: Check = {
  name: 'gradients equal finite differences',
  async run(method, test) {
    await slopes(await open(method, test), { skipped: test.detached })
  },
}

const training: Check = {
  name: 'training moves every parameter, lowers the loss and leaves the base alone',
  async run(method, test) {
    const { losses, state, states, adapted, written } = await trained(method, test)
    if (written)
      fail(`the base weight ${written} was changed: map slots instead of writing into what the base holds.`)
    if (losses.some((l) => !Number.isFinite(l)) || state.parameters.some((v) => !Number.isFinite(v)))
      fail(
        `training gives numbers that aren't finite (losses ${losses.map((l) => l.toFixed(3)).join(', ')}): look at afterStep, divisions and roots at zero.`,
      )
    const start = adapted.variables.initial(0)
    const early = states[1].parameters
    const dead = adapted.variables.list.find(
      (v) =>
        v.size > 0 && early.subarray(v.offset, v.offset + v.size).every((x, i) => x === start[v.offset + i]),
    )
    if (dead) fail(`${dead.name} didn't move in two steps: it is declared, but does the loss depend on it?`)
    if (!((losses.at(-1) ?? 0) < losses[0]))
      fail(
        `the loss didn't fall in ${steps} steps of AdamW at 0.01: ${losses[0].toFixed(4)} → ${losses.at(-1)?.toFixed(4)}.`,
      )
  },
}

const resumes: Check = {
  name: 'stopping and going on gives what an unbroken run gives',
  async run(method, test) {
    const half = steps / 2
    const { state, states } = await trained(method, test)
    const second = await (await open(method, test)).train(half + 1, steps, states[half - 1])
    for (const [name, vector] of Object.entries(state))
      if (greatest(vector, second.state[name]) > 0)
        fail(
          `${name} after ${half} + ${half} steps differs from ${steps} in one go: something is kept in the method's closure; declare it with state(…) instead.`,
        )
  },
}
/** The checks of one valid config, in the order a failure is easiest to read. */
export const checks: readonly Check[] = [
  schema,
  seeded,
  identity,
  gradients,
  rowsApart,
  causal,
  training,
  evaluates,
  trains,
  drops,
  resumes,
  saves,
  merges,
  storages,
  isolated,
  refused,
  chosen,
]
