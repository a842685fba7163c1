import { float32 } from '@graft-peft/core'
import {
  adapt,
  batchOf,
  compileGradient,
  methodOptions,
  modelFeeds,
  runOnce,
  scalar,
} from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { openTiny, registry } from '../tiny.js'

const model = openTiny('llama-tied-linear')
const ids = [3, 5, 7, 9, 11, 13, 15, 17]

/** Loss and gradient of full fine-tuning as functions of the parameters. */
function trainable() {
  const method = registry.get('method', 'full')
  const objective = registry.get('objective', 'causal-lm')
  const adapted = adapt(model, {
    method,
    methodOptions: methodOptions(method, {}),
    objective,
    labels: 0,
    expectedRows: ids.length,
    totalSteps: 1,
    training: true,
  })
  const graph = compileGradient(adapted)
  const batch = batchOf([{ ids, tokenLabels: ids }])
  const { feeds, count } = objective.supervise(batch, 1)
  const run = async (parameters: Float32Array) => {
    const outputs = await runOnce(graph, {
      ...modelFeeds(model.graph.inputs, batch, 0),
      ...feeds,
      inverse_count: scalar(1 / count),
      parameters: float32(parameters),
    })
    return { loss: Number(outputs.loss.data[0]), gradient: outputs.gradient.data as Float32Array }
  }
  return { adapted, run }
}

describe('a matrix that is both embedding and output layer', () => {
  it('gets the gradient of both uses, each once', async () => {
    const { adapted, run } = trainable()
    const start = adapted.variables.initial(0)
    const table = adapted.variables.list.find((v) => v.name === 'model.embed_tokens.weight')
    if (!table) throw new Error('no embedding')
    const { gradient } = await run(start.slice())
    for (const [token, column] of [
      [3, 0],
      [5, 2],
      [11, 3],
      [20, 1],
    ]) {
      const at = table.offset + token * table.shape[1] + column
      const moved = (step: number) => run(start.map((v, i) => (i === at ? v + step : v)))
      const slope = ((await moved(1e-2)).loss - (await moved(-1e-2)).loss) / 2e-2
      expect(Math.abs(gradient[at] - slope), `token ${token}: ${gradient[at]} against ${slope}`).toBeLessThan(
        3e-4,
      )
    }
  })
})
