import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { definePeftMethod } from '@graft-peft/core'
import { Registry } from '@graft-peft/core/app'
import { toyDecoder } from '../../packages/method-tester/src/toys.js'
import { Bench } from '../../packages/method-tester/src/harness.js'
import { describe, expect, test } from 'vitest'
import { graft, temporaryFolder, writeComparison, writeRun } from '../fixture.js'

const method = (changes: object = {}): object => ({
  ...definePeftMethod({
    name: 'mine',
    apiVersion: 1,
    peftType: 'MINE',
    configSchema: { type: 'object', properties: {}, additionalProperties: false },
    startsAsIdentity: () => true,
    mergeable: false,
    summary: 'for a test',
    attach: () => ({}),
  }),
  ...changes,
})
const origin = { package: 'graft-method-mine', version: '1.0.0' }

describe('at the door', () => {
  const { attach: _, ...withoutAttach } = method() as Record<string, unknown>
  test.each<[string, object, RegExp]>([
    [
      'an async attach',
      method({ attach: async () => ({}) }),
      /async attach: it must return at once\. What has to be awaited goes into prepare/,
    ],
    [
      'no attach',
      { ...withoutAttach, atach: () => ({}) },
      /has no attach, which should be a function; it has atach/,
    ],
    ['no peftType', method({ peftType: '' }), /has peftType as an empty text; expected a string/],
    [
      'a schema that is none',
      method({ configSchema: 'r' }),
      /has configSchema as a string; expected a object|expected an? object/,
    ],
  ])('%s is refused, and the package blamed', (_name, plugin, says) => {
    expect(() => new Registry().registerPackage(plugin, origin)).toThrow(says)
    expect(() => new Registry().registerPackage(plugin, origin)).toThrow(/graft-method-mine/)
  })
  test('a peft_type that is taken', () => {
    const registry = new Registry().registerPackage(method(), origin)
    expect(() => registry.registerPackage(method({ name: 'other' }), origin)).toThrow(
      /peftType MINE, which is that of the method mine/,
    )
  })
  test('the same plugin again is no second one', () => {
    const plugin = method()
    const registry = new Registry().registerPackage(plugin, origin).registerPackage(plugin, origin)
    expect(registry.all('method')).toHaveLength(1)
  })
})

describe('what attach does', () => {
  type Context = Parameters<ReturnType<typeof definePeftMethod>['attach']>[0]
  const numbers = (count: number) => () => new Float32Array(count)
  const adapted = async (attach: (context: Context) => unknown) =>
    (await Bench.open(toyDecoder(), method({ attach }) as never, {})).adapt()
  test.each<[string, (context: Context) => unknown, RegExp]>([
    ['an unknown part', () => ({ afterstep: 1 }), /returned afterstep.*Did you mean afterStep\?/],
    ['a promise', () => Promise.resolve({}), /returned a promise: what has to be awaited goes into prepare/],
    ['nothing', () => undefined, /attach returned undefined; expected an object/],
    [
      'one name for two tensors',
      ({ param }) => [1, 2].map(() => param('A', { shape: [2], init: numbers(2) })) && {},
      /parameter A is declared twice: name it after its module/,
    ],
    [
      'one key for two tensors',
      ({ param }) =>
        ['A', 'B'].map((name) => param(name, { shape: [2], init: numbers(2), key: 'same' })) && {},
      /two tensors would be saved as same/,
    ],
    [
      'a buffer of the wrong size',
      ({ buffer }) => buffer('b', { shape: [2, 2], init: numbers(3), stored: false }) && {},
      /init of b gave 3 numbers; shape \[2, 2\] needs a Float32Array of 4/,
    ],
  ])('%s is refused', async (_name, attach, says) => {
    await expect(adapted(attach)).rejects.toThrow(says)
  })
  test('an init that is too short is refused', async () => {
    const { variables } = await adapted(({ param }) => param('A', { shape: [4], init: numbers(2) }) && {})
    expect(() => variables.initial(0)).toThrow(/init of A gave 2 numbers; shape \[4\]/)
  })
  test('parameters that reach nothing are told', async () => {
    const { model } = await adapted(({ param }) => param('A', { shape: [4], init: numbers(4) }) && {})
    expect(model.notices.join()).toMatch(
      /1 of the adapter's 1 tensors reach nothing that the loss depends on.*such as A/,
    )
  })
})

describe('a plugin file that has no node_modules', () => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'plugins'))
  writeFileSync(
    join(folder, 'plugins/scale.mjs'),
    `import { definePeftMethod, targetedSchema, targets, ones } from '@graft-peft/core'
export default definePeftMethod({
  name: 'scale', apiVersion: 1, peftType: 'SCALE', summary: 'scales', mergeable: false, learningRate: 1e-2,
  configSchema: targetedSchema({}), startsAsIdentity: () => true,
  attach({ model, g, param }, options) {
    for (const site of targets(model, options)) {
      const s = param(site.path + '.scale', { shape: [site.outFeatures], init: ones })
      site.output.map((y) => g.mul(y, s))
    }
    return {}
  },
})\n`,
  )
  const scale = { name: 'scale', target_modules: ['q_proj', 'v_proj'] }
  const plugins = ['./plugins/scale.mjs']

  test('gets the core of who loads it: estimate, with the plugin named twice', async () => {
    const config = writeRun(folder, { method: scale, plugins })
    const { stderr, stdout, code } = await graft(['estimate', config, '--plugins', join(folder, plugins[0])])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/scale/)
  })
  test('compares', async () => {
    const config = writeComparison(
      folder,
      { methods: [scale], exclude: ['base', 'full'] },
      { plugins, training: { max_steps: 2 } },
    )
    const { stderr, stdout, code } = await graft(['compare', config])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/scale/)
  })
})
