import type { Model } from '../model/model.js'

/**
 * The model for an answer's tokens after the first. Keys and values of the text that was read come from the cache alone, so nothing of the
 * encoder is computed: it would be given a text of no tokens, which nothing can cut into blocks.
 */
export function withoutEncoder(model: Model): Model {
  const fork = model.fork()
  const { graph, g } = fork
  for (const past of graph.inputs.filter(({ name }) => /^past_key_values\.\d+\.encoder\./.test(name)))
    for (const join of [...past.users].filter(({ op }) => op === 'Concat')) {
      const [all] = join.outputs
      if (all) graph.replaceUses(all, g.op('Identity', [past]))
    }
  return fork
}
