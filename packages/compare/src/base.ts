import { type Evaluation, type Registry, type TrainConfig } from '@graft-peft/core/app'
import { adapt, Evaluator, classCount, readInputs } from '@graft-peft/core/inside'
import { untouched } from './untouched.js'

/** Scores of the base as it is; where the objective adds a head, of that head as it starts. */
export async function evaluateBase(
  config: TrainConfig,
  registry: Registry,
): Promise<{ parameters: number; before: Record<string, Evaluation> }> {
  const inputs = await readInputs(config, registry)
  try {
    const { model, objective, labels, pad, metrics, validation, test } = inputs
    const options = {
      method: untouched,
      methodOptions: {},
      objective,
      labels: classCount(objective, labels),
      expectedRows: 1,
      totalSteps: 1,
      seed: config.seed,
    }
    const { variables } = adapt(model, { ...options, training: false })
    const evaluator = await Evaluator.open(model, options, {
      device: config.device,
      threads: config.threads ?? undefined,
      pad,
      batchSize: 32,
    })
    try {
      const before: Record<string, Evaluation> = {}
      for (const [part, data] of Object.entries({ validation, test }))
        if (data.length > 0)
          before[part] = await evaluator.evaluate(data, variables.initial(config.seed), metrics, labels)
      return { parameters: model.parameterCount, before }
    } finally {
      await evaluator.close()
    }
  } finally {
    inputs.close()
  }
}
