import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Example, float32, type Model, type PeftMethod } from '@graft-peft/core'
import {
  Classifier,
  type Generator,
  merge,
  openAdapter,
  openModel,
  type TrainConfig,
} from '@graft-peft/core/app'
import {
  adapt,
  type Attaching,
  batchOf,
  countedPositions,
  modelFeeds,
  prepareContext,
  type RunInputs,
  saveTrained,
  Sequence,
  Session,
  startingOptions,
  Thread,
} from '@graft-peft/core/inside'
import { vi } from 'vitest'
import { registry } from '../tiny.js'
import { type Family, idsOf } from './family.js'

/** All sessions share a thread: starting one takes longer than all that a tiny model does. */
export function shareThread(): void {
  const thread = Thread.for('cpu')
  thread.enter()
  vi.spyOn(Thread, 'for').mockReturnValue(thread)
}

/** A method attached to a family's model, its parameters moved off their start. */
export class Trained {
  private constructor(
    readonly family: Family,
    private readonly attaching: Attaching,
    readonly parameters: Float32Array,
  ) {}

  static async of(family: Family, name: string, given: Record<string, unknown>): Promise<Trained> {
    const method = registry.get('method', name) as PeftMethod
    const { options: methodOptions } = startingOptions(method, given)
    const { model, objective, labels } = family
    const attaching: Attaching = {
      method,
      methodOptions,
      objective,
      labels: Math.max(1, labels.length),
      expectedRows: 16,
      totalSteps: 5,
      prepared: await prepared(family, method, methodOptions),
    }
    const { variables } = adapt(model, { ...attaching, training: true })
    const parameters = variables.initial(3).map((v, i) => v + 0.1 * Math.sin(i * 1.7))
    return new Trained(family, attaching, parameters)
  }
  get tasks(): number {
    const { method, methodOptions } = this.attaching
    return method.tasks?.(methodOptions) ?? 1
  }

  /** Writes it as a run does at its end. */
  save(output: string): Promise<string> {
    const { method, methodOptions } = this.attaching
    const config = { output, method, methodOptions, data: { columns: {} } } as TrainConfig
    const inputs = { ...this.family, max_length: 32 } as unknown as RunInputs
    return saveTrained(config, inputs, this.attaching, this.parameters)
  }

  /** What it makes of each of several batches, in memory: logits of all rows. */
  async logits(batches: readonly (readonly Example[])[]): Promise<Float32Array[]> {
    const { model, virtualTokens } = adapt(this.family.model, { ...this.attaching, training: false })
    const feeds = batches.map((examples) => ({
      ...modelFeeds(this.family.model.graph.inputs, batchOf(examples, virtualTokens), 0),
      parameters: float32(this.parameters),
    }))
    return outputs(model, feeds)
  }
}

/** Logits of a model for each of several feeds. */
async function outputs(
  model: Model,
  feeds: readonly Parameters<Session['run']>[0][],
): Promise<Float32Array[]> {
  const { graph, logits } = model
  graph.outputs.splice(0, graph.outputs.length, logits)
  graph.prune()
  graph.dropUnusedInputs()
  const session = await Session.open(graph)
  try {
    const found: Float32Array[] = []
    for (const each of feeds) found.push((await session.run(each))[logits.name].data as Float32Array)
    return found
  } finally {
    await session.close()
  }
}

async function prepared(
  { model }: Family,
  method: PeftMethod,
  options: Record<string, unknown>,
): Promise<unknown> {
  const examples = [
    [5, 9, 3, 17, 8],
    [7, 4, 11],
  ].map((ids) => ({ ids, decoderIds: ids, tokenLabels: ids }))
  const batch = batchOf(examples)
  const batches = async () => [modelFeeds(model.graph.inputs, batch, 0)]
  const masks = async () => [countedPositions(batch)]
  return method.prepare?.({ ...prepareContext(model, 0, 0), batches, masks }, options)
}

/** Greatest difference, in units of the greatest number where that is above one. */
export function apart(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Number.POSITIVE_INFINITY
  const each = Array.from(wanted)
  const greatest = each.reduce((m, v) => Math.max(m, Math.abs(v)), 1)
  return (
    each.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]) || 0, Number.isNaN(got[i]) ? 9 : 0), 0) /
    greatest
  )
}

/** How far Classifier's answers are from what was trained. */
export async function classified(trained: Trained, adapter: string): Promise<number> {
  const { family, tasks } = trained
  const records = family.records.map((fields, i) => ({ ...fields, task: i % tasks }))
  const coder = family.coder(tasks)
  const examples = records.map((fields) => {
    const record = { fields, where: 'here' }
    return { ...coder.input(record), ...coder.task(record) }
  })
  const [logits] = await trained.logits([examples])
  const classifier = await Classifier.open(await openAdapter(adapter, registry))
  try {
    const answers = await classifier.predict(records)
    return Math.max(
      ...answers.map((answer, i) => unlike(answer as Answer, logits.subarray(3 * i, 3 * i + 3), family)),
    )
  } finally {
    await classifier.close()
  }
}
interface Answer {
  prediction: string
  score: number
}
function unlike({ prediction, score }: Answer, logits: Float32Array, { labels }: Family): number {
  const greatest = logits.indexOf(Math.max(...logits))
  const total = logits.reduce((sum, v) => sum + Math.exp(v - logits[greatest]), 0)
  return prediction === labels[greatest] ? Math.abs(score - 1 / total) : Number.POSITIVE_INFINITY
}

/** How far the logits that Generator writes by are from what was trained. */
export async function written(trained: Trained, adapter: string, generator: Generator): Promise<number> {
  const [{ text }] = trained.family.records as { text: string }[]
  const prompt = idsOf(text)
  const read = vi.spyOn(Sequence.prototype, 'read')
  try {
    await generator.load(adapter, await openAdapter(adapter, registry, undefined, { cache: true }))
    const { text: answer } = await generator.generate(prompt, { adapter, maxTokens: 3 })
    const got = await Promise.all(read.mock.results.map(({ value }) => value as Promise<Float32Array>))
    const tokens = got.map((logits) => logits.indexOf(Math.max(...logits)))
    if (idsOf(answer).some((id, i) => id !== tokens[i])) return Number.POSITIVE_INFINITY
    const examples = got.map((_, k) => [exampleOf(trained.family, prompt, tokens.slice(0, k))])
    const wanted = await trained.logits(examples)
    return Math.max(...wanted.map((all, k) => apart(got[k], rowOf(trained.family, all, k, got[k].length))))
  } finally {
    read.mockRestore()
  }
}

/** The logits of what is written last: a decoder's row k, as a batch of one token is filled up to two; else the last row. */
function rowOf({ model }: Family, all: Float32Array, k: number, width: number): Float32Array {
  const from = answers(model) ? k * width : all.length - width
  return all.subarray(from, from + width)
}
const answers = ({ graph }: Model): boolean => graph.inputs.some((v) => v.name === 'decoder_input_ids')

/** What a model that continues a text, or answers it, reads when it has written these tokens. */
function exampleOf({ model }: Family, prompt: readonly number[], tokens: readonly number[]): Example {
  const start = Number(model.config.decoder_start_token_id ?? model.config.pad_token_id ?? 0)
  return answers(model) ? { ids: prompt, decoderIds: [start, ...tokens] } : { ids: [...prompt, ...tokens] }
}

/** How far the merged folder, opened as any model, is from what was trained. Throws what merging throws. */
export async function merged(trained: Trained, adapter: string, output: string): Promise<number> {
  const { family } = trained
  await merge(await openAdapter(adapter, registry), output, registry)
  const examples = family.labels.length > 0 ? encoded(family) : [exampleOf(family, [5, 9, 3, 17, 8], [4, 6])]
  const model = openModel(output, {
    architectures: registry.all('architecture'),
    task: family.model.task,
    labels: Math.max(1, family.labels.length),
  })
  const feeds = modelFeeds(model.graph.inputs, batchOf(examples), 0)
  const [got] = await outputs(model, [feeds])
  const [wanted] = await trained.logits([examples])
  return apart(got, wanted)
}
const encoded = ({ records, coder }: Family): Example[] =>
  records.map((fields) => coder(1).input({ fields, where: 'here' }))

/** Keeps what a model is fed and gives with an adapter, for judge.py. */
export async function keep(trained: Trained, adapter: string): Promise<void> {
  const { family } = trained
  const examples = family.labels.length > 0 ? encoded(family) : [exampleOf(family, [5, 9, 3, 17, 8], [4, 6])]
  const feeds = modelFeeds(family.model.graph.inputs, batchOf(examples), 0)
  const [logits] = await trained.logits([examples])
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, { shape, data }]) => [name, { shape, data: Array.from(data, Number) }]),
  )
  const { task } = family.objective
  writeFileSync(join(adapter, 'expected.json'), JSON.stringify({ task, inputs, logits: [...logits] }))
}
