import { type Example } from '@graft-peft/core'
import {
  Generator,
  type OpenedAdapter,
  openAdapter,
  type Registry,
  type TrainConfig,
} from '@graft-peft/core/app'
import {
  adapt,
  Evaluator,
  fillVariables,
  inMemory,
  Permutation,
  type RunInputs,
  take,
  tokenizerOf,
} from '@graft-peft/core/inside'
import type { Answer, RunResult } from './results.js'

/** tokens that a generated answer has at most */
const longest = 96

/** Test examples to look at, the same for every run: drawn, as files are often sorted; validation examples where there is no test file. */
export function someExamples({ test, validation }: RunInputs, count: number): Promise<Example[]> {
  const data = test.length > 0 ? test : validation
  const order = new Permutation(data.length, 0, 'samples')
  return take(
    data,
    Array.from({ length: Math.min(count, data.length) }, (_, i) => order.at(i)),
  )
}

/** What a trained model says to examples. Undefined where its objective gives no such answers. */
export async function answers(
  examples: readonly Example[],
  inputs: RunInputs,
  config: TrainConfig,
  adapter: string,
  registry: Registry,
): Promise<RunResult['answers']> {
  if (examples.length === 0) return undefined
  const opened = await openAdapter(adapter, registry, config.model)
  const { objective } = inputs
  const shown =
    objective.answers === 'text' && !examples[0].decoderIds
      ? await written(opened, examples, config)
      : objective.classifies && objective.answers === 'example'
        ? await classified(opened, examples, inputs, config)
        : []
  if (shown.length === 0) return undefined
  return { shown }
}

async function classified(
  opened: OpenedAdapter,
  examples: readonly Example[],
  { labels, pad, model }: RunInputs,
  { device }: TrainConfig,
): Promise<Answer[]> {
  const evaluator = await Evaluator.open(opened.model, opened.options, { device, pad, batchSize: 32 })
  try {
    const adapted = adapt(opened.model, { ...opened.options, training: false })
    const logits = await evaluator.logits(
      inMemory(examples),
      fillVariables(opened.folder, opened.options.stored ?? new Map(), adapted),
    )
    const tokenizer = examples[0].ids.length > 0 ? tokenizerOf(model) : undefined
    const text = (e: Example) => e.image?.file.split('/').at(-1) ?? tokenizer?.decode(e.ids) ?? 'an image'
    return examples.map((e, i) => ({
      input: text(e),
      expected: labels[e.label ?? 0],
      answer: labels[greatest(logits[i][0], labels.length)],
    }))
  } finally {
    await evaluator.close()
  }
}
const greatest = (logits: Float32Array, count: number): number => {
  const known = logits.subarray(0, count)
  return known.indexOf(Math.max(...known))
}

/** Texts are continued from where their supervised part begins. */
async function written(
  opened: OpenedAdapter,
  examples: readonly Example[],
  { device, threads }: TrainConfig,
): Promise<Answer[]> {
  const generator = new Generator(opened.model, { device, threads: threads ?? undefined })
  try {
    await generator.load('trained', opened)
    const found: Answer[] = []
    for (const { ids, tokenLabels = [] } of examples) {
      const start = Math.max(
        1,
        tokenLabels.findIndex((l) => l !== -100),
      )
      const { text } = await generator.generate(ids.slice(0, start), { maxTokens: longest })
      found.push({
        input: generator.tokenizer.decode(ids.slice(0, start)),
        expected: generator.tokenizer.decode(ids.slice(start)),
        answer: text,
      })
    }
    return found
  } finally {
    await generator.close()
  }
}
