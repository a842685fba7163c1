import { fileKey, GraftError, type PeftMethod } from '@graft-peft/core'
import { fillVariables, fold, savedForm, withWeights } from '@graft-peft/core/inside'
import { Bench } from './harness.js'
import { type Check, fail, toy, open, nothing, type ValidCase } from './cases.js'
import { trained } from './trained.js'

export const saves: Check = {
  name: 'a saved adapter loads to the same model',
  async run(method, test) {
    const { bench, states, adapted } = await trained(method, test)
    const { parameters: own } = states[7]
    const before = await bench.loss(bench.adapt(), own)
    const { tensors, options } = await savedForm(bench.adapt(), own)
    const loaded = () =>
      bench.adapt({
        inference: true,
        stored: tensors,
        methodOptions: bench.configWith(options),
        prepared: undefined,
        seed: 99,
      })
    const parameters = fillVariables('the saved adapter', tensors, loaded())
    const after = await bench.loss(loaded(), parameters)
    if (!(Math.abs(before - after) < 1e-4 * Math.max(1, Math.abs(before))))
      fail(
        `the loaded adapter's loss is ${after.toFixed(5)}, the trained one's ${before.toFixed(5)}: does the file hold everything? It has ${[...tensors.keys()].slice(0, 6).join(', ')}; variables are ${adapted.variables.list.slice(0, 4).map(fileKey).join(', ')}.`,
      )
  },
}

export const merges: Check = {
  name: 'the merged weights say what the adapted model says',
  async run(method, test) {
    const bench = await open(method, test)
    const adapted = bench.adapt()
    if (Boolean(adapted.adapter.merge) !== method.mergeable)
      return fail(
        `mergeable is ${method.mergeable}, but attach ${adapted.adapter.merge ? 'returns' : "doesn't return"} merge.`,
      )
    if (!adapted.adapter.merge) return
    const { states } = await trained(method, test)
    await mergesIn(bench, states[3].parameters, '')
    // The same layers with biases, in a model that stores its matrices the other way round.
    const other: ValidCase = { ...test, model: test.model === 'encoder' ? 'decoder' : 'encoder' }
    await unlessRefused(async () => {
      const found = await open(method, other, toy(other, 'turned'))
      const where = ` (in the toy ${other.model}, its matrices stored [in, out])`
      await mergesIn(found, found.adapt().variables.initial(0), where)
    })
  },
}

/** Undefined where Graft's own errors say that a config doesn't fit the model. */
export async function unlessRefused<T>(make: () => Promise<T>): Promise<T | undefined> {
  try {
    return await make()
  } catch (error) {
    if (error instanceof GraftError && error.code !== 'BAD_METHOD' && error.code !== 'PLUGIN_FAILED')
      return undefined
    throw error
  }
}

async function mergesIn(bench: Bench, start: Float32Array, where: string): Promise<void> {
  const adapted = bench.adapt()
  const parameters = start.map((v, i) => v + 0.05 * Math.sin(i))
  const feeds = bench.feeds(adapted)
  const { weights } = await fold(
    adapted,
    bench.method.name,
    (a) => a.model.logits,
    parameters,
    Object.fromEntries(bench.base.graph.inputs.map((v) => [v.name, feeds[v.name]])),
  )
  const merged = await Bench.open(withWeights(bench.base, weights), nothing, {})
  const plain = merged.adapt()
  const [folded, expected] = [
    await merged.loss(plain, plain.variables.initial(0)),
    await bench.loss(bench.adapt(), parameters),
  ]
  if (!(Math.abs(folded - expected) < 2e-4 * Math.max(1, Math.abs(expected))))
    fail(
      `the merged model's loss is ${folded.toFixed(5)}, the adapted one's ${expected.toFixed(5)}${where}: does merge apply the same scale, orientation and order as attach, and to biases too?`,
    )
}

export const isolated: Check = {
  name: 'attachments keep apart, and another method fits on top',
  async run(method, test) {
    const [bench, other] = [await open(method, test), await open(method, test)]
    const lone = bench.adapt()
    const parameters = bench.moved(lone)
    const expected = await bench.loss(lone, parameters)
    const [first, second] = [bench.adapt(), other.adapt()]
    const beside = await bench.loss(first, parameters)
    await other.loss(second, other.moved(second, 0.3))
    if (beside !== expected)
      fail(
        `a second attachment changes the first one's loss from ${expected} to ${beside}: keep what belongs to a run inside attach.`,
      )
    const stacked: PeftMethod = {
      ...method,
      attach: (context, config) => ({ ...method.attach(context, config), ...shift(context) }),
    }
    const above = (await Bench.open(bench.base, stacked, test.config)).adapt()
    const both = await bench.loss(
      above,
      above.variables.initial(0).map((v, i) => parameters[i] ?? v + 0.5),
    )
    if (!(Math.abs(both - expected) > 1e-6))
      fail(
        'a second method on the same layers has no effect: does attach replace values others map, instead of mapping them?',
      )
  },
}

/** Scales every linear layer's output by a parameter. */
const shift: (context: Parameters<PeftMethod['attach']>[0]) => object = ({ model, g, param }) => {
  const s = param('stacked', { shape: [1], init: () => Float32Array.of(1) })
  for (const site of model.linears) site.output.map((y) => g.mul(y, s))
  return {}
}
