import { normal, positive, real, share, targetedSchema, type Value } from '@graft-peft/core'
import { attach, type Context, delta, type Parts, small } from './small.js'
import type { Mutant } from './mutant.js'

const config = { target_modules: ['q_proj', 'v_proj'] }
let calls = 0

const afterStep =
  (scalars: () => number[], change: (context: Context, p: Value, scalar: Value) => Value) =>
  (context: Context, parts: readonly Parts[]) => ({
    afterStep: {
      scalars,
      update: ({ updated, scalars: fed }: { updated: (p: Value) => Value; scalars: Value[] }) =>
        new Map(parts.map(({ B }) => [B, change(context, updated(B), fed[0])])),
    },
  })

/** Faults in options, starts, gradients and state. */
export const ofLearning: readonly Mutant[] = [
  {
    kind: 'options',
    what: 'has an option that it never reads',
    check: 'every option',
    method: small(
      {},
      { configSchema: targetedSchema({ r: positive(2), scale: real(2), dropout: share(0), alpha: real(1) }) },
    ),
    caught: /never read.*option alpha\./,
  },
  {
    kind: 'options',
    what: 'ignores the default and works with a number of its own',
    check: 'every option',
    method: small({
      options: ({ target_modules, r, dropout }) => ({ target_modules, r, dropout, scale: 3 }),
    }),
    caught: /never read.*option scale/,
  },
  {
    kind: 'options',
    what: 'reads an option and does nothing with it',
    check: 'every option',
    method: small({ options: (o) => ({ ...o, scale: o.scale > -1e9 ? 2 : 1 }) }),
    caught: /changes nothing.*option scale\./,
  },
  {
    kind: 'options',
    what: 'has a default that gives no numbers',
    check: 'it trains with the defaults',
    method: small(
      {},
      { configSchema: targetedSchema({ r: positive(2), scale: real(1e30), dropout: share(0) }) },
    ),
    test: { config: { ...config, scale: 2 } },
    caught: /all else by default/,
  },
  {
    kind: 'options',
    what: 'lets unknown options pass',
    check: 'the options have a schema',
    method: small(
      {},
      {
        configSchema: {
          type: 'object',
          properties: {
            r: { default: 2 },
            scale: { default: 2 },
            dropout: { default: 0 },
            target_modules: {},
          },
        },
      },
    ),
    caught: /lets unknown options pass/,
  },
  {
    kind: 'options',
    what: 'has an option without a default',
    check: 'the options have a schema',
    method: small(
      {},
      { configSchema: targetedSchema({ r: { type: 'integer' }, scale: real(2), dropout: share(0) }) },
    ),
    caught: /option r has no default/,
  },
  {
    kind: 'options',
    what: 'writes into the options',
    check: 'starts from the base',
    method: small({ first: (_, options) => void (options.target_modules as string[]).push('k_proj') }),
    caught: /not extensible|read only/,
  },
  {
    kind: 'start',
    what: 'draws from Math.random',
    check: 'the same seed',
    method: small({
      init: (shape) =>
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => Math.random() - 0.5),
    }),
    caught: /starts from other numbers each time/,
  },
  {
    kind: 'start',
    what: 'puts a random constant into the graph',
    check: 'the same seed',
    method: small({
      update: (c, x, parts, o) => c.g.add(delta(c, x, parts, o), c.g.scalar(0.1 * Math.random())),
    }),
    caught: /differs each time/,
  },
  {
    kind: 'start',
    what: 'claims to start from the base',
    check: 'starts from the base',
    method: small({
      update: (c, x, { A, B, site }, o) => delta(c, x, { A, B: c.g.add(B, c.g.scalar(0.1)), site }, o),
    }),
    caught: /startsAsIdentity says the untrained model equals the base/,
  },
  {
    kind: 'start',
    what: 'claims not to start from the base',
    check: 'starts from the base',
    method: small({}, { startsAsIdentity: () => false }),
    caught: /startsAsIdentity says the untrained model differs/,
  },
  {
    kind: 'start',
    what: 'gives an init that is too short',
    check: 'the same seed',
    method: small({ init: () => new Float32Array(3) }),
    caught: /init of .*small_A gave 3 numbers/,
  },
  {
    kind: 'gradients',
    what: 'cuts a gradient off',
    check: 'gradients',
    method: small({
      update: (c, x, { A, B, site }, o) => delta(c, x, { A: c.g.stopGradient(A), B, site }, o),
    }),
    caught:
      /∂loss\/∂model\.layers\.0\.self_attn\.q_proj\.small_A: finite difference -?\d+\.\d{4}, graph -?0\.0000/,
  },
  {
    kind: 'gradients',
    what: 'cuts half of a gradient off',
    check: 'gradients',
    method: small({
      update: (c, x, { A, B, site }, o) =>
        delta(c, x, { A, B: c.g.scale(c.g.add(B, c.g.stopGradient(B)), 0.5), site }, o),
    }),
    caught: /∂loss\/∂/,
  },
  {
    kind: 'gradients',
    what: 'has a root at zero',
    check: 'gradients',
    method: small({
      update: (c, x, { A, B, site }, o) =>
        delta(c, x, { A, B: c.g.add(B, c.g.sqrt(c.g.mul(B, c.g.scalar(0)))), site }, o),
    }),
    caught: /not finite|nan/i,
  },
  {
    kind: 'gradients',
    what: 'has a parameter that reaches nothing',
    check: 'training moves',
    method: small({ first: ({ param }) => void param('dead', { shape: [3], init: normal(1) }) }),
    caught: /dead didn't move/,
  },
  {
    kind: 'gradients',
    what: 'never moves a parameter',
    check: 'training moves',
    method: small(
      {},
      { attach: (c, o) => attach()({ ...c, param: (name, w) => c.param(name, { ...w, lrScale: 0 }) }, o) },
    ),
    caught: /didn't move in two steps/,
  },
  {
    kind: 'gradients',
    what: 'walks uphill',
    check: 'training moves',
    method: small(
      {},
      { attach: (c, o) => attach()({ ...c, param: (name, w) => c.param(name, { ...w, lrScale: -1 }) }, o) },
    ),
    caught: /loss didn't fall/,
  },
  {
    kind: 'gradients',
    what: 'has a penalty that is no scalar',
    check: 'training moves',
    method: small({ after: ({ g }, parts) => ({ penalty: g.square(parts[0].B) }) }),
    caught: /penalty is \[16, 2\]; expected a scalar/,
  },
  {
    kind: 'state',
    what: 'gives no finite numbers after a step',
    check: 'training moves',
    method: small({
      after: afterStep(
        () => [],
        ({ g }, p) => g.div(g.sub(p, p), g.scalar(0)),
      ),
    }),
    caught: /aren't finite/,
  },
  {
    kind: 'state',
    what: 'keeps a count in its closure',
    check: 'stopping and going on',
    method: small({
      after: (c, parts) => {
        const own = ++calls
        return afterStep(
          () => [own],
          ({ g }, p, s) => g.add(p, g.mul(s, g.scalar(1e-4))),
        )(c, parts)
      },
    }),
    caught: /kept in the method's closure/,
  },
  {
    kind: 'state',
    what: 'writes into the base',
    check: 'training moves',
    method: small({
      first: ({ model }) => {
        const { data } = model.linears[0].weight.constant ?? {}
        if (data && 'bytes' in data) data.bytes[0] ^= ++calls & 1 ? 1 : 3
      },
    }),
    caught: /was changed: map slots instead/,
  },
  {
    kind: 'state',
    what: 'writes into the base while it prepares',
    check: 'training moves',
    method: small(
      {},
      {
        prepare: async ({ model }) => {
          const { data } = model.linears[0].weight.constant ?? {}
          if (data && 'bytes' in data) data.bytes[0] ^= 1
        },
      },
    ),
    caught: /was changed: map slots instead/,
  },
  {
    kind: 'state',
    what: 'keeps values of another run',
    check: 'attachments keep apart',
    method: (() => {
      const kept = new Map<string, Value>()
      return small({
        update: (c, x, parts, o) => {
          const A = kept.get(parts.site.path) ?? parts.A
          kept.set(parts.site.path, A)
          return delta(c, x, { ...parts, A }, o)
        },
      })
    })(),
    caught: /./,
  },
]
