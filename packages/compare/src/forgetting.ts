import { Coder, type Example, fileKey, floatsOf, type Model } from '@graft-peft/core'
import {
  type Evaluation,
  openAdapter,
  readRecords,
  type Registry,
  type TrainConfig,
  openModel,
} from '@graft-peft/core/app'
import { adapt, Evaluator, inMemory } from '@graft-peft/core/inside'
import type { RunSpec } from './comparison.js'
import type { Forgetting } from './results.js'
import { untouched } from './untouched.js'

/** tokens of a general text's example at most */
const longest = 256

/** Loss per token on a general text: of the base, and of the base under an adapter, whatever that was trained for. Undefined where none was asked for. */
export async function forgetting(
  wanted: RunSpec['forgetting'],
  config: TrainConfig,
  adapter: string | undefined,
  registry: Registry,
): Promise<Forgetting | undefined> {
  if (!wanted) return undefined
  const base = languageModel(config, registry)
  const examples = await generalText(wanted, base, registry)
  const bare = {
    method: untouched,
    methodOptions: {},
    objective: registry.get('objective', 'causal-lm'),
    labels: 0,
    expectedRows: 1024,
    totalSteps: 1,
  }
  const before = await loss(base, bare, new Float32Array(0), examples, config)
  if (!adapter) return { before, after: before }
  const { model, options } = await openAdapter(adapter, registry, config.model, { as: 'causal-lm' })
  const { variables } = adapt(model, { ...options, training: false })
  // A head that was not there when the adapter was trained stays as the base has it.
  const parameters = variables.initial(0)
  for (const variable of variables.list) {
    const stored = options.stored?.get(fileKey(variable))
    if (stored) parameters.set(floatsOf(stored, variable.name), variable.offset)
  }
  return {
    before,
    after: await loss(model, { ...options, expectedRows: 1024 }, parameters, examples, config),
  }
}

/** The model as it writes texts. Throws what opening throws for one that doesn't. */
export const languageModel = ({ model, quantize }: TrainConfig, registry: Registry): Model =>
  openModel(model, { architectures: registry.all('architecture'), task: 'causal-lm', quantize })

async function generalText(
  { file, examples: limit }: NonNullable<RunSpec['forgetting']>,
  model: Model,
  registry: Registry,
): Promise<Example[]> {
  const coder = new Coder(model, [], { columns: {}, max_length: longest, train_on_prompt: true })
  const examples: Example[] = []
  for await (const record of readRecords(file, undefined, registry.all('reader'))) {
    examples.push(coder.language(asText(record)))
    if (examples.length === limit) break
  }
  return examples
}
/** Records of any data set will do: what they say is read as one text. */
function asText(record: { fields: Readonly<Record<string, unknown>>; where: string }) {
  if ('text' in record.fields) return { ...record, fields: { text: record.fields.text } }
  const text = Object.values(record.fields)
    .filter((v) => typeof v === 'string')
    .join('\n')
  return { ...record, fields: { text } }
}

async function loss(
  model: Model,
  options: Parameters<typeof Evaluator.open>[1],
  parameters: Float32Array,
  examples: readonly Example[],
  { device, threads }: TrainConfig,
): Promise<number> {
  const evaluator = await Evaluator.open(model, options, {
    device,
    threads: threads ?? undefined,
    pad: 0,
    batchSize: 8,
  })
  try {
    const found: Evaluation = await evaluator.evaluate(inMemory(examples), parameters, [], [])
    return found.loss
  } finally {
    await evaluator.close()
  }
}
