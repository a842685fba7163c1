import { normal, shapeOf, targets } from '@graft-peft/core'
import { type ValidCase } from '@graft-peft/method-tester'
import { attach, delta, type Method, small } from './small.js'
import type { Mutant } from './mutant.js'

const everywhere: ValidCase = { config: { target_modules: 'all-linear' } }

/** Faults in weights, merging, files and the contract. */
export const ofFiles: readonly Mutant[] = [
  {
    kind: 'orientation',
    what: 'takes what is stored for the weight',
    check: 'weights mean the same',
    test: everywhere,
    method: small({
      update: (c, x, parts, o) => {
        const stored = parts.site.weight.stored
        const square = shapeOf(stored)[0] === shapeOf(stored)[1]
        return square ? c.g.linear(delta(c, x, parts, o), c.g.stopGradient(stored)) : delta(c, x, parts, o)
      },
    }),
    caught: /stored \[in, out\]/,
  },
  {
    kind: 'orientation',
    what: 'starts from rows of what is stored',
    check: 'weights mean the same',
    method: small(
      { init: (shape) => new Float32Array(shape.reduce((a, b) => a * b, 1)) },
      {
        startsAsIdentity: () => false,
        attach: (c, o) => {
          const [{ weight }] = targets(c.model, o)
          const numbers = weight.reader()()?.slice(0, 16) ?? new Float32Array(16)
          const row = c.param('row', { shape: [16], init: () => numbers })
          for (const site of targets(c.model, o)) site.output.map((y) => c.g.add(y, row))
          return {}
        },
      },
    ),
    caught: /stored \[in, out\]/,
  },
  {
    kind: 'orientation',
    what: 'merges into what is stored',
    check: 'the merged weights',
    method: small({
      merge: (c, w, { A, B, site }, o) => {
        const update = c.g.scale(c.g.matMul(B, A), o.scale)
        return c.g.add(w, site.weight.transposed ? c.g.swapLast(update) : update)
      },
    }),
    caught: /stored \[in, out\].*orientation/,
  },
  {
    kind: 'float32 bytes',
    what: 'reads the weight as bytes of float32',
    check: 'weights mean the same',
    method: small(
      { init: (shape) => new Float32Array(shape.reduce((a, b) => a * b, 1)) },
      {
        startsAsIdentity: () => false,
        attach: (c, o) => {
          for (const site of targets(c.model, o)) {
            const { data } = site.weight.constant ?? {}
            const bytes = data && 'bytes' in data ? data.bytes : new Uint8Array()
            const numbers = new Float32Array(bytes.slice().buffer)
            const gain = c.param(`${site.path}.gain`, {
              shape: [1],
              init: () => Float32Array.of(numbers.reduce((s, v) => s + Math.abs(v), 0) / 100),
            })
            site.output.map((y) => c.g.mul(y, gain))
          }
          return {}
        },
      },
    ),
    caught: /stored in bfloat16/,
  },
  {
    kind: 'merging',
    what: 'merges with another scale',
    check: 'the merged weights',
    method: small({ merge: ({ g }, w, { A, B }, o) => g.add(w, g.scale(g.matMul(B, A), o.scale / 2)) }),
    caught: /does merge apply the same scale/,
  },
  {
    kind: 'merging',
    what: 'merges all layers but one',
    check: 'the merged weights',
    method: small({ merged: (parts) => parts.slice(1) }),
    caught: /does merge apply the same scale/,
  },
  {
    kind: 'merging',
    what: 'says it merges but cannot',
    check: 'the merged weights',
    method: small({ after: () => ({ merge: undefined }) }),
    caught: /mergeable is true, but attach doesn't return merge/,
  },
  {
    kind: 'merging',
    what: 'merges though it says it does not',
    check: 'the merged weights',
    method: small({}, { mergeable: false }),
    caught: /mergeable is false, but attach returns merge/,
  },
  {
    kind: 'merging',
    what: 'forgets the bias that it scales',
    check: 'the merged weights',
    method: small({
      update: (c, _, parts) => c.g.scale(c.g.sumAll(parts.B), 1),
      output: ({ g }, y, gain) => g.mul(y, g.add(gain, g.scalar(1))),
      merge: ({ g }, w, { B }) => g.mul(w, g.add(g.sumAll(B), g.scalar(1))),
    }),
    caught: /encoder.*and to biases/,
  },
  {
    kind: 'files',
    what: 'saves half of itself',
    check: 'a saved adapter',
    method: small({
      after: () => ({
        save: () => ({ finish: (t: Map<string, unknown>) => (t.delete([...t.keys()][0]) ? {} : {}) }),
      }),
    }),
    caught: /doesn't fit the model: .*is missing/,
  },
  {
    kind: 'files',
    what: 'saves other numbers than it reads',
    check: 'a saved adapter',
    method: small({
      after: ({ g }, [{ site, B }]) => ({
        save: () => ({ tensors: { [`base_model.model.${site.path}.small_B`]: g.scale(B, 2) } }),
      }),
    }),
    caught: /the loaded adapter's loss is/,
  },
  {
    kind: 'files',
    what: 'draws a buffer again that the file should hold',
    check: 'a saved adapter',
    method: small({
      read: ({ g, buffer }, x, _, site) =>
        g.mul(x, buffer(`${site.path}.signs`, { shape: [site.inFeatures], init: normal(1), stored: false })),
    }),
    caught: /the loaded adapter's loss is/,
  },
  {
    kind: 'files',
    what: 'saves over a stored buffer',
    check: 'a saved adapter',
    method: small({
      after: ({ g, buffer }, [{ B }]) => {
        buffer('own', { shape: [1], init: normal(1), stored: 'F32' })
        return { save: () => ({ tensors: { 'base_model.model.own': g.sumAll(B) } }) }
      },
    }),
    caught: /is a stored buffer of its own/,
  },
  {
    kind: 'files',
    what: 'attaches another model for use than it trained',
    check: 'a saved adapter',
    method: small({
      update: (c, x, parts, o) => delta(c, x, parts, { ...o, scale: c.inference ? 1 : o.scale }),
    }),
    caught: /the loaded adapter's loss is/,
  },
  {
    kind: 'contract',
    what: 'returns a part that is none',
    check: 'starts from the base',
    method: small({ after: () => ({ afterstep: {} }) }),
    caught: /returned afterstep.*Did you mean afterStep/,
  },
  {
    kind: 'contract',
    what: 'attaches in a promise',
    check: 'starts from the base',
    method: small(
      {},
      { attach: (async (c: never, o: never) => attach()(c, o)) as unknown as Method['attach'] },
    ),
    caught: /returned a promise/,
  },
  {
    kind: 'contract',
    what: 'has one name for two tensors',
    check: 'starts from the base',
    method: small({ name: () => 'shared' }),
    caught: /shared\.small_A is declared twice/,
  },
  {
    kind: 'contract',
    what: 'replaces what others map',
    check: 'attachments keep apart',
    method: small(
      {},
      {
        attach: (c, o) => {
          const adapter = attach()(c, o)
          for (const { output } of c.model.linears) output.map = () => {}
          return adapter
        },
      },
    ),
    caught: /a second method on the same layers has no effect/,
  },
]
