import {
  definePeftMethod,
  normal,
  overwriteEmbeddings,
  embeddingWidth,
  type PeftMethod,
  optionSchema,
  shapeOf,
  targets,
  type Value,
} from '@graft-peft/core'
import { type ValidCase } from '@graft-peft/method-tester'
import { type Context, delta, small } from './small.js'
import type { Mutant } from './mutant.js'

const config = { target_modules: ['q_proj', 'v_proj'] }
const encoder: ValidCase = { config, model: 'encoder' }

/** Something that grows along the batch's rows or positions: [.., 1], from x [batch, length, width]. */
const meanOver = ({ g }: Context, x: Value, axis: number) => g.reduceMean(x, [axis])
const plus = (context: Context, x: Value, more: Value) => context.g.add(x, context.g.scale(more, 0.5))
const prompt = (changes: Partial<PeftMethod>, count = 3): PeftMethod =>
  definePeftMethod({
    name: 'prompt',
    apiVersion: 1,
    peftType: 'SMALL_PROMPT',
    summary: 'tokens in front',
    mergeable: false,
    startsAsIdentity: () => false,
    configSchema: optionSchema({}),
    virtualTokens: () => ({ count, predictive: true }),
    attach({ model, param }) {
      overwriteEmbeddings(model, param('prompt', { shape: [3, embeddingWidth(model)], init: normal(0.5) }))
      return {}
    },
    ...changes,
  }) as unknown as PeftMethod

/** Faults in dropout, batches, causality and targets. */
export const ofData: readonly Mutant[] = [
  {
    kind: 'dropout',
    what: 'fails as soon as there is dropout',
    check: 'the graph of training',
    method: small({
      read: ({ g, dropout }, x, { dropout: p }, site) =>
        p > 0 ? g.add(dropout(x, p, site.path), g.zeros([7, 7, 7])) : x,
    }),
    caught: /./,
  },
  {
    kind: 'dropout',
    what: 'leaves dropout out',
    check: 'dropout drops',
    method: small({ read: (_, x) => x }),
    caught: /dropout: 0\.5 drops nothing/,
  },
  {
    kind: 'dropout',
    what: 'drops from the base',
    check: 'dropout drops',
    method: small({
      read: (_, x) => x,
      output: ({ g, dropout }, y, added, o, { site }) => dropout(g.add(y, added), o.dropout, site.path),
    }),
    caught: /never from what the base computes/,
  },
  {
    kind: 'dropout',
    what: 'has another scale where there is dropout',
    check: 'the graph of training',
    method: small({
      update: (c, x, parts, o) =>
        c.g.scale(
          delta(c, x, parts, o),
          o.dropout > 0 && x.producer?.op !== undefined && c.dropout(x, o.dropout, 'probe') !== x ? 1.5 : 1,
        ),
    }),
    caught: /no element dropped/,
  },
  {
    kind: 'dropout',
    what: 'drops in evaluation too',
    check: 'evaluation has no dropout',
    method: small({
      read: ({ g }, x, o) =>
        o.dropout === 0
          ? x
          : g.op('Mul', [
              x,
              g.cast(g.less(g.op('RandomUniformLike', [x]), g.scalar(1 - o.dropout)), 'float32'),
            ]),
    }),
    caught: /draw numbers of its own/,
  },
  {
    kind: 'dropout',
    what: 'cuts the gradient of what it drops from',
    check: 'dropout drops',
    method: small({
      update: (c, x, parts, o) =>
        delta(c, x, o.dropout > 0 ? { ...parts, A: c.g.stopGradient(parts.A) } : parts, o),
    }),
    caught: /∂loss\/∂/,
  },
  {
    kind: 'batch and length',
    what: 'knows the number of rows',
    check: 'batches of any size',
    method: small({ read: ({ g }, x) => g.reshape(x, [3, 'sequence', shapeOf(x)[2]]) }),
    caught: /a batch of \d rows and \d+ tokens fails|one by one/,
  },
  {
    kind: 'batch and length',
    what: 'knows the number of tokens',
    check: 'batches of any size',
    method: small({
      update: (c, x, parts, o) =>
        c.g.mul(delta(c, x, parts, o), c.g.constant('float32', [1, 1, 1, 1, 1, 1, 1], [1, 7, 1])),
    }),
    caught: /a batch of \d rows and \d+ tokens fails/,
  },
  {
    kind: 'batch and length',
    what: 'takes a mean over the rows',
    check: 'batches of any size',
    method: small({ read: (c, x) => plus(c, x, meanOver(c, x, 0)) }),
    caught: /must not depend on other rows/,
  },
  {
    kind: 'batch and length',
    what: 'takes a mean over what is filled up',
    check: 'batches of any size',
    test: encoder,
    method: small({ read: (c, x) => plus(c, x, meanOver(c, x, 1)) }),
    caught: /how far it is filled up|filled up with token/,
  },
  {
    kind: 'batch and length',
    what: 'has more virtual tokens than it replaces',
    check: 'batches of any size',
    method: prompt({}, 5),
    test: { config: {} },
    caught: /./,
  },
  {
    kind: 'later tokens',
    what: 'adds a mean over all positions',
    check: 'a position knows nothing',
    method: small({ read: (c, x) => plus(c, x, meanOver(c, x, 1)) }),
    caught: /read what it is to write/,
  },
  {
    kind: 'later tokens',
    what: 'looks at the next position',
    check: 'a position knows nothing',
    method: small({
      read: ({ g, ...c }, x) => {
        const next = g.op('Pad', [g.slice(x, 1, 1e9, 1), g.ints([0, 0, 0, 0, 1, 0])])
        return plus({ g, ...c }, x, next)
      },
    }),
    caught: /read what it is to write/,
  },
  {
    kind: 'targets',
    what: 'trains something whatever the targets',
    check: 'targets that match nothing',
    method: small({ choose: ({ model }) => model.linears.slice(0, 2) }),
    caught: /trains something all the same/,
  },
  {
    kind: 'targets',
    what: 'looks at the targets and adapts every layer',
    check: 'exactly the targets',
    method: small({ choose: ({ model }, o) => (targets(model, o).length > 0 ? model.linears : []) }),
    caught: /adapts model\.layers\.0\.\S+ as well/,
  },
  {
    kind: 'targets',
    what: 'adapts every layer by one parameter',
    check: 'exactly the targets',
    method: small({
      after: (c, [{ A }]) => {
        for (const site of c.model.linears) site.output.map((y) => c.g.add(y, c.g.scale(c.g.sumAll(A), 1e-3)))
        return {}
      },
    }),
    caught: /adapts \S+ as well/,
  },
  {
    kind: 'targets',
    what: 'forgets layers_to_transform',
    check: 'exactly the targets',
    method: small({ choose: ({ model }, o) => targets(model, { ...o, layers_to_transform: null }) }),
    caught: /"layers_to_transform":\[1\].*adapts model\.layers\.0/,
  },
  {
    kind: 'targets',
    what: 'forgets exclude_modules',
    check: 'exactly the targets',
    method: small({ choose: ({ model }, o) => targets(model, { ...o, exclude_modules: null }) }),
    caught: /"exclude_modules".*adapts model\.layers\.0/,
  },
]
