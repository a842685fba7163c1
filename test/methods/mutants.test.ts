import {
  definePeftMethod,
  kaimingUniform,
  type LinearSite,
  normal,
  type PeftMethod,
  positive,
  real,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  zeros,
} from '@graft-peft/core'
import { checkMethod, type ValidCase } from '@graft-peft/method-tester'
import { expect, it } from 'vitest'

interface Options extends TargetOptions {
  r: number
  scale: number
}
interface Parts {
  A: Value
  B: Value
}
/** A small, sound method; each mutant below spoils one thing of it. */
const sound = (spoiled: Partial<PeftMethod<Options>> = {}): PeftMethod =>
  definePeftMethod<Options>({
    name: 'small',
    apiVersion: 1,
    peftType: 'SMALL',
    summary: 'a low-rank update',
    mergeable: true,
    startsAsIdentity: () => true,
    configSchema: targetedSchema({ r: positive(2), scale: real(2) }),
    attach: attach({}),
    ...spoiled,
  }) as unknown as PeftMethod

interface Spoiled {
  init?: PeftInit
  apply?: (context: Context, x: Value, parts: Parts, scale: number) => Value
  mergeScale?: number
  choose?: (context: Context, options: Options) => LinearSite[]
  after?: (context: Context, parts: readonly Parts[]) => object
  first?: (context: Context) => void
}
type Context = Parameters<PeftMethod<Options>['attach']>[0]
type PeftInit = typeof kaimingUniform

const update = ({ g }: Context, x: Value, { A, B }: Parts, scale: number) =>
  g.scale(g.linear(g.linear(x, A), B), scale)

function attach({
  init = kaimingUniform,
  apply = update,
  mergeScale = 1,
  choose = ({ model }, options) => targets(model, options),
  after,
  first,
}: Spoiled): PeftMethod<Options>['attach'] {
  return (context, options) => {
    const { g, param } = context
    first?.(context)
    const adapted = choose(context, options).map((site) => {
      const A = param(`${site.path}.small_A`, { shape: [options.r, site.inFeatures], init })
      const B = param(`${site.path}.small_B`, { shape: [site.outFeatures, options.r], init: zeros })
      site.output.map((y, x) => g.add(y, apply(context, x, { A, B }, options.scale)))
      return { site, A, B }
    })
    return {
      merge: () =>
        adapted.map(
          ({ site, A, B }) =>
            [site.weight, (w) => g.add(w, g.scale(g.matMul(B, A), options.scale * mergeScale))] as const,
        ),
      ...after?.(context, adapted),
    }
  }
}

const valid: ValidCase[] = [{ config: { target_modules: ['q_proj', 'v_proj'] } }]
let calls = 0

const mutants: Record<string, { method: PeftMethod; caught: RegExp }> = {
  'merges with another scale': {
    method: sound({ attach: attach({ mergeScale: 0.5 }) }),
    caught: /does merge apply the same scale/,
  },
  'a parameter that reaches nothing': {
    method: sound({
      attach: attach({ first: ({ param }) => void param('dead', { shape: [3], init: normal(1) }) }),
    }),
    caught: /dead didn't move|∂loss\/∂dead/,
  },
  'a gradient cut off': {
    method: sound({
      attach: attach({ apply: (c, x, { A, B }, s) => update(c, x, { A: c.g.stopGradient(A), B }, s) }),
    }),
    caught:
      /∂loss\/∂model\.layers\.0\.self_attn\.q_proj\.small_A: finite difference -?\d+\.\d{4}, graph -?0\.0000/,
  },
  'numbers from Math.random': {
    method: sound({
      attach: attach({
        init: (shape) =>
          Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.random() - 0.5),
      }),
    }),
    caught: /starts from other numbers each time/,
  },
  'writes into the base': {
    method: sound({
      attach: attach({
        first: ({ model }) => {
          const { data } = model.linears[0].weight.constant ?? {}
          if (data && 'bytes' in data) data.bytes[0] ^= ++calls & 1 ? 1 : 3
        },
      }),
    }),
    caught: /was changed: map slots instead/,
  },
  'saves half of itself': {
    method: sound({
      attach: attach({
        after: () => ({
          save: () => ({
            finish: (tensors: Map<string, unknown>) => (tensors.delete([...tensors.keys()][0]), {}),
          }),
        }),
      }),
    }),
    caught: /doesn't fit the model: .*is missing/,
  },
  'numbers that are not finite after a step': {
    method: sound({
      attach: attach({
        after: ({ g }, parts) => ({
          afterStep: {
            scalars: () => [],
            update: ({ updated }: { updated: (p: Value) => Value }) =>
              new Map(parts.map(({ B }) => [B, g.div(g.sub(updated(B), updated(B)), g.scalar(0))])),
          },
        }),
      }),
    }),
    caught: /aren't finite/,
  },
  'claims to start from the base': {
    method: sound({
      attach: attach({
        apply: (c, x, parts, s) =>
          c.g.add(
            update(c, x, parts, s),
            c.g.scale(c.g.linear(c.g.linear(x, parts.A), c.g.add(parts.B, c.g.scalar(0.1))), s),
          ),
      }),
    }),
    caught: /startsAsIdentity says the untrained model equals the base/,
  },
  'trains something whatever the targets': {
    method: sound({ attach: attach({ choose: ({ model }) => model.linears.slice(0, 2) }) }),
    caught: /trains something all the same/,
  },
  'keeps a count in its closure': {
    method: sound({
      attach: attach({
        after: ({ g }, parts) => {
          const own = ++calls
          return {
            afterStep: {
              scalars: () => [own],
              update: ({ updated, scalars }: { updated: (p: Value) => Value; scalars: Value[] }) =>
                new Map(parts.map(({ B }) => [B, g.add(updated(B), g.mul(scalars[0], g.scalar(1e-4)))])),
            },
          }
        },
      }),
    }),
    caught: /kept in the method's closure/,
  },
  'lets unknown options pass': {
    method: sound({
      configSchema: {
        type: 'object',
        properties: { r: { default: 2 }, scale: { default: 2 }, target_modules: {} },
      },
    }),
    caught: /lets unknown options pass/,
  },
  'says it merges but cannot': {
    method: sound({ attach: (context, options) => ({ ...attach({})(context, options), merge: undefined }) }),
    caught: /mergeable is true, but attach doesn't return merge/,
  },
}

it('a sound method passes', async () => expect(await checkMethod(sound(), { valid })).toEqual([]))

for (const [what, { method, caught }] of Object.entries(mutants))
  it(`catches a method that ${what}`, async () => {
    const failures = await checkMethod(method, { valid })
    expect(failures.map((f) => f.message).join('\n')).toMatch(caught)
  })

it('refuses a case that is there twice', async () => {
  const failures = await checkMethod(sound(), { valid: [...valid, ...valid] })
  expect(failures.map((f) => f.message)).toContainEqual(expect.stringMatching(/there twice/))
})
