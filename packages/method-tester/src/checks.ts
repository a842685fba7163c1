import { Random } from '@graft-peft/core'
import { type Adapted, validate, type Variable } from '@graft-peft/core/inside'
import { readBytes } from '@graft-peft/onnx'
import { Bench } from './harness.js'
import { type Check, fail, open, greatest } from './cases.js'
import { saves, merges, isolated, targeted } from './adapter-checks.js'
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
    const [first, second] = [(await open(method, test)).adapt(), (await open(method, test)).adapt()]
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
    const bench = await open(method, test)
    const adapted = bench.adapt()
    const start = bench.moved(adapted)
    const { run, close } = await bench.gradient()
    try {
      const { gradient } = await run(start)
      for (const variable of adapted.variables.list) {
        if (test.detached?.some((name) => variable.name.includes(name))) continue
        const slope = await directional(run, start, variable)
        const own = slope.direction.reduce((sum, d, i) => sum + d * gradient[variable.offset + i], 0)
        const scale = Math.max(Math.abs(slope.value), Math.abs(own), 1e-2)
        if (!(Math.abs(slope.value - own) < 0.03 * scale))
          fail(
            `∂loss/∂${variable.name}: finite difference ${slope.value.toFixed(4)}, graph ${own.toFixed(4)} — is ${variable.name} reached from the output, and by nothing but differentiable operators?`,
          )
      }
    } finally {
      await close()
    }
  },
}
/**
 * The loss's slope along a random direction of one variable, by central differences at two steps,
 * extrapolated (Richardson).
 */
async function directional(
  run: (p: Float32Array) => Promise<{ loss: number }>,
  at: Float32Array,
  { name, offset, size }: Variable,
) {
  const random = new Random(7, name)
  const raw = Float32Array.from({ length: size }, () => random.normal())
  const norm = Math.sqrt(raw.reduce((s, v) => s + v * v, 0)) || 1
  const direction = raw.map((v) => v / norm)
  const lossAt = async (h: number) => {
    const moved = new Float32Array(at)
    for (let i = 0; i < size; i++) moved[offset + i] += h * direction[i]
    return (await run(moved)).loss
  }
  const central = async (h: number) => ((await lossAt(h)) - (await lossAt(-h))) / (2 * h)
  return { direction, value: (4 * (await central(8e-3)) - (await central(16e-3))) / 3 }
}

const training: Check = {
  name: 'training moves every parameter, lowers the loss and leaves the base alone',
  async run(method, test) {
    const bench = await open(method, test)
    const weights = bench.base.graph.constants().filter((v) => v.data)
    const before = weights.map((v) => Buffer.from(readBytes(v.data!)))
    const { losses, state } = await bench.train(1, bench.steps)
    weights.forEach((v, i) => {
      if (!before[i].equals(Buffer.from(readBytes(v.data!))))
        fail(`the base weight ${v.name} was changed: map slots instead of writing into what the base holds.`)
    })
    if (losses.some((l) => !Number.isFinite(l)) || state.parameters.some((v) => !Number.isFinite(v)))
      fail(
        `training gives numbers that aren't finite (losses ${losses.map((l) => l.toFixed(3)).join(', ')}): look at afterStep, divisions and roots at zero.`,
      )
    const early = await bench.train(1, 2)
    const start = early.adapted.variables.initial(0)
    const dead = early.adapted.variables.list.find(
      (v) =>
        v.size > 0 &&
        early.state.parameters
          .subarray(v.offset, v.offset + v.size)
          .every((x, i) => x === start[v.offset + i]),
    )
    if (dead) fail(`${dead.name} didn't move in two steps: it is declared, but does the loss depend on it?`)
    if (!((losses.at(-1) ?? 0) < losses[0]))
      fail(
        `the loss didn't fall in ${bench.steps} steps of AdamW at 0.01: ${losses[0].toFixed(4)} → ${losses.at(-1)?.toFixed(4)}.`,
      )
  },
}

const resumes: Check = {
  name: 'stopping and going on gives what an unbroken run gives',
  async run(method, test) {
    const half = 6
    const whole = await (await open(method, test)).train(1, 2 * half)
    const first = await (await open(method, test)).train(1, half)
    const second = await (await open(method, test)).train(half + 1, 2 * half, first.state)
    for (const [name, vector] of Object.entries(whole.state))
      if (greatest(vector, second.state[name]) > 0)
        fail(
          `${name} after ${half} + ${half} steps differs from ${2 * half} in one go: something is kept in the method's closure; declare it with state(…) instead.`,
        )
  },
}
/** The checks of one valid config, in the order a failure is easiest to read. */
export const checks: readonly Check[] = [
  schema,
  seeded,
  identity,
  gradients,
  training,
  resumes,
  saves,
  merges,
  isolated,
  targeted,
]
