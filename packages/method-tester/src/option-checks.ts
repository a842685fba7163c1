import { createHash } from 'node:crypto'
import { GraftError, type PeftMethod } from '@graft-peft/core'
import { type Adapted, adamw, compileStep, savedForm } from '@graft-peft/core/inside'
import { encodeOnnx } from '@graft-peft/onnx'
import { unlessRefused } from './adapter-checks.js'
import { type Check, fail, type MethodCases, open, type ValidCase } from './cases.js'
import { checks } from './checks.js'

/** A check of a method under all its cases together. */
export interface WholeCheck {
  name: string
  run(method: PeftMethod, cases: MethodCases): Promise<void>
}
interface Property {
  type?: string
  enum?: readonly unknown[]
  default?: unknown
}
const propertiesOf = ({ configSchema }: PeftMethod): Record<string, Property> =>
  (configSchema as { properties?: Record<string, Property> }).properties ?? {}

/** The method, with `read` told which options it looks at. */
function watched(method: PeftMethod, read: { add(name: string): void }): PeftMethod {
  const watch = (config: Record<string, unknown>) =>
    new Proxy(config, {
      get: (target, key) => {
        read.add(String(key))
        return target[String(key)]
      },
    })
  const { attach, prepare, startsAsIdentity, virtualTokens, tasks, start } = method
  return {
    ...method,
    attach: (context, config) => attach.call(method, context, watch(config)),
    startsAsIdentity: (config) => startsAsIdentity.call(method, watch(config)),
    ...(prepare && { prepare: (context, config) => prepare.call(method, context, watch(config)) }),
    ...(virtualTokens && { virtualTokens: (config) => virtualTokens.call(method, watch(config)) }),
    ...(tasks && { tasks: (config) => tasks.call(method, watch(config)) }),
    ...(start && { start: (config) => start.call(method, watch(config)) }),
  }
}

/** Other values of an option than this. */
function others(value: unknown, { type, enum: among }: Property): unknown[] {
  if (among) return among.filter((v) => v !== value && v !== null)
  if (typeof value === 'boolean') return [!value]
  if (typeof value !== 'number') return []
  if (type !== 'integer') return [value === 0 ? 0.25 : value / 2]
  return value === 0 ? [1] : [value + 1, 2 * value]
}
/** Whether a schema lets an option have one value only: any other is refused. */
const isFixed = (property: Property): boolean => 'const' in property || property.enum?.length === 1

/** All that training under these options does, as one number. */
function digest({ model, variables, state, buffers, adapter, virtualTokens }: Adapted): string {
  const hash = createHash('sha256')
  for (const v of variables.list) hash.update(`${v.name} ${v.shape} ${v.lrScale ?? 1} ${v.key ?? ''};`)
  hash.update(Buffer.from(variables.initial(0).buffer))
  if (state) hash.update(Buffer.from(state.initial(0).buffer))
  for (const b of buffers) hash.update(`${b.name} ${b.stored} `).update(Buffer.from(b.data.slice().buffer))
  const over = Array.from({ length: 12 }, (_, i) => i + 1).map((t) => [
    adapter.afterStep?.scalars(t, 12),
    adapter.settled?.(t, 12),
  ])
  return hash.update(JSON.stringify([virtualTokens, over, model.notices])).digest('hex')
}

async function digestOf(method: PeftMethod, test: ValidCase): Promise<string | undefined> {
  return unlessRefused(async () => {
    const bench = await open(method, test)
    bench.method.startsAsIdentity(bench.configWith({}))
    const adapted = bench.adapt({ training: true })
    const known = digest(adapted)
    const graph = compileStep(adapted, { optimizer: adamw(), clip: 0, accumulate: false })
    return known + createHash('sha256').update(encodeOnnx(graph)).digest('hex')
  })
}
/** What the adapter's file would hold. */
async function savedDigest(method: PeftMethod, test: ValidCase): Promise<string | undefined> {
  return unlessRefused(async () => {
    const adapted = (await open(method, test)).adapt()
    const { tensors, options } = await savedForm(adapted, adapted.variables.initial(0))
    const held = [...tensors].map(([key, { dtype, shape }]) => [key, dtype, shape])
    return JSON.stringify([held, options])
  })
}

const effects: WholeCheck = {
  name: 'every option is read and changes something',
  async run(method, { valid, idle = [] }) {
    const read = new Set<string>()
    // Under the options of one case: what is read only beside others isn't judged where they are off.
    const now = new Set<string>()
    const own = watched(method, { add: (name) => [read, now].forEach((set) => set.add(name)) })
    const unmoved = new Set<string>()
    const alive = new Set([...(method.trainingOptions ?? []), ...idle])
    const options = Object.entries(propertiesOf(method)).filter(([, property]) => !isFixed(property))
    // Biases are there in the encoder alone.
    const both: ValidCase[] = [...valid, ...valid.map((test) => ({ ...test, model: elsewhere(test) }))]
    for (const test of both) {
      if (options.every(([name]) => alive.has(name))) break
      const [before, saved] = [await digestOf(own, test), await savedDigest(own, test)]
      if (before === undefined) continue
      for (const [name, property] of options)
        for (const changed of withOthers(test, name, property)) {
          if (alive.has(name)) break
          now.clear()
          const after = await digestOf(own, changed)
          if (after === undefined) continue
          if (after !== before || (await savedDigest(own, changed)) !== saved) alive.add(name)
          else if (now.has(name)) unmoved.add(name)
        }
    }
    const silent = options
      .map(([name]) => name)
      .filter((name) => !alive.has(name) && name !== 'modules_to_save')
    const unread = silent.filter((name) => !read.has(name))
    if (unread.length > 0)
      fail(
        `never read, under any of the cases: option ${unread.join(', ')}. It would be set without effect: use options.${unread[0]}, or take it out of configSchema.`,
      )
    const dead = silent.filter((name) => unmoved.has(name))
    if (dead.length > 0)
      fail(
        `changes nothing, under any of the cases: option ${dead.join(', ')}. Is its value used? Add a case where it matters, take it out of configSchema, or say that it is idle.`,
      )
  },
}
const elsewhere = ({ model }: ValidCase): ValidCase['model'] => (model === 'encoder' ? 'decoder' : 'encoder')
/** The case with other values of an option. */
const withOthers = (test: ValidCase, name: string, property: Property): ValidCase[] =>
  others(test.config[name] ?? property.default, property).map((value) => ({
    ...test,
    config: { ...test.config, [name]: value },
  }))

/** Options that say where to train, which a toy has no defaults for. */
const places = /^(target_|exclude_|feedforward_|token_|num_|layers_)|_modules$/
const defaults: WholeCheck = {
  name: 'it trains with the defaults of its options',
  async run(method, { valid }) {
    const [{ config, model }] = valid
    const needed = Object.fromEntries(
      Object.entries(config).filter(([name]) => {
        return places.test(name) || propertiesOf(method)[name]?.default === undefined
      }),
    )
    const test: ValidCase = { config: needed, model }
    try {
      for (const check of checks.filter((c) => essential.includes(c.name))) await check.run(method, test)
    } catch (error) {
      // Defaults for models of real size may not fit a toy; the method says so itself.
      if (error instanceof GraftError && error.code !== 'PLUGIN_FAILED') return
      throw new Error(`with ${JSON.stringify(needed)} and all else by default: ${(error as Error).message}`)
    }
  },
}
const essential: readonly Check['name'][] = [
  'starts from the base exactly where it says so',
  'training moves every parameter, lowers the loss and leaves the base alone',
]

export const wholeChecks: readonly WholeCheck[] = [effects, defaults]
