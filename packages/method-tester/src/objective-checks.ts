import { type DataRecord, type Example, GraftError, type Tensors } from '@graft-peft/core'
import { Registry } from '@graft-peft/core/app'
import { batchOf, compileEvaluation, inputOf, type Adapted, numbers, runOnce } from '@graft-peft/core/inside'
import { fail } from './cases.js'
import { type ObjectiveBench } from './objective-bench.js'
import { slopes } from './slopes.js'
import { toySizes } from './toys.js'

/** A check of an objective. */
export interface ObjectiveCheck {
  name: string
  run(under: ObjectiveBench): Promise<void>
}
const close = (a: number, b: number, by = 2e-5): boolean => Math.abs(a - b) < by * Math.max(1, Math.abs(b))
const lossOf = ({ loss_sum }: Tensors): number => Number(loss_sum.data[0])
const supervisedIn = ({ objective }: ObjectiveBench, examples: readonly Example[]) =>
  objective.supervise({ ...batchOf(objective.rows?.(examples) ?? examples), sources: examples.length }, 1)

/** Runs the objective's own graph at parameters near the start. */
function evaluated<T>(
  { bench }: ObjectiveBench,
  use: (
    run: (examples: readonly Example[], pad?: number) => Promise<Tensors>,
    adapted: Adapted,
  ) => Promise<T>,
  alter: (parameters: Float32Array, adapted: Adapted) => Float32Array = (p) => p,
): Promise<T> {
  const adapted = bench.adapt()
  const parameters = alter(bench.moved(adapted), adapted)
  return bench.outputs(adapted, (run) => use((examples, pad) => run(parameters, { examples, pad }), adapted))
}

const encodes: ObjectiveCheck = {
  name: 'records become examples, and bad ones are refused by field',
  async run({ objective, cases, coder, examples }) {
    const { records, answers = ['label', 'labels'], columns = {}, metrics = [] } = cases
    const known = [...new Registry().all('metric'), ...metrics].map((m) => m.name)
    const unknown = objective.metrics.find((name) => !known.includes(name))
    if (unknown) fail(`metrics names ${unknown}, which no metric has. Known: ${known.join(', ')}.`)
    const odd = examples.find(({ ids }) => ids.some((id) => !(id >= 0 && id < toySizes.vocabulary)))
    if (odd)
      fail(`an example has the token ${odd.ids.find((id) => !(id >= 0))}, which the tokenizer doesn't give.`)
    const read = new Set<string>()
    for (const fields of records) objective.encode({ fields, where: 'a record', read }, coder)
    const hidden = [...read].find(
      (c) => objective.fields && !objective.fields.some((f) => (columns[f] ?? f) === c),
    )
    if (hidden) fail(`encode reads the field ${hidden}, which fields leaves out: a config couldn't map it.`)
    for (const example of examples) refuseOdd(example, objective.classifies, 'a record')
    for (const column of new Set([...read, ...Object.keys(records[0])])) {
      const fields = Object.fromEntries(Object.entries(records[0]).filter(([name]) => name !== column))
      refusesOrReads(
        () => objective.encode({ fields, where: 'record 1' }, coder),
        column,
        objective.classifies,
      )
      if (answers.includes(column))
        predictsWithout(() => objective.input?.({ fields, where: 'record 1' } as DataRecord, coder), column)
    }
  },
}
function refuseOdd({ ids, label = 0 }: Example, classifies: boolean, of: string): void {
  if (Array.isArray(ids) && Number.isFinite(label) && (!classifies || label >= 0)) return
  fail(
    `${of} becomes an example without ids, or with the label ${label}: find it with coder.labelIndex or coder.number.`,
  )
}
function refusesOrReads(encode: () => Example, column: string, classifies: boolean): void {
  let example: Example
  try {
    example = encode()
  } catch (error) {
    if (error instanceof GraftError) return
    return fail(
      `a record without ${column} ends in "${(error as Error).message}": read fields by coder.text, coder.number, coder.field, which say where one is missing.`,
    )
  }
  refuseOdd(example, classifies, `a record without ${column}`)
}
function predictsWithout(input: () => unknown, column: string): void {
  try {
    input()
  } catch (error) {
    fail(`input needs ${column}, the answer: what is predicted for has none (${(error as Error).message}).`)
  }
}

const adds: ObjectiveCheck = {
  name: 'the loss is a sum over rows, whatever the batch',
  async run(under) {
    const { examples, objective } = under
    const { count, targets } = supervisedIn(under, examples)
    if (count !== targets.length) fail(`supervise counts ${count} rows and gives ${targets.length} targets.`)
    await evaluated(under, async (run) => {
      const together = await run(examples)
      if (numbers(together.predictions).length !== count)
        fail(`${count} rows are supervised, and ${numbers(together.predictions).length} are predicted.`)
      const filled = lossOf(await run(examples, 5))
      if (!close(filled, lossOf(together)))
        fail(
          `the loss is ${lossOf(together).toFixed(5)} where texts are filled up with token 0, and ${filled.toFixed(5)} with token 5: take a text's last token by its own length, and leave filled positions out.`,
        )
      // What is told apart within a batch is no sum over it.
      if (objective.rows) return
      let apart = 0
      for (const example of examples) apart += lossOf(await run([example]))
      if (!close(apart, lossOf(together)))
        fail(
          `the loss of ${examples.length} examples in one batch is ${lossOf(together).toFixed(5)}, of the same one by one ${apart.toFixed(5)}: lossSum must be the sum over supervised rows, not their mean, and read nothing of other rows.`,
        )
    })
  },
}

/** The same inputs with other answers. */
function otherwise(examples: readonly Example[], labels: readonly string[]): Example[] {
  const count = labels.length
  return examples.map((e, i) => ({
    ...e,
    ...(e.label === undefined ? {} : { label: count > 0 ? (e.label + 1) % count : e.label + 1 }),
    ...(e.others ? { others: examples[(i + 1) % examples.length].others } : {}),
    tokenLabels: e.tokenLabels?.map((l) =>
      l === -100 ? l : count > 0 ? (l + 1) % count : 3 + ((l + 4) % (toySizes.vocabulary - 3)),
    ),
  }))
}
const targetsCount: ObjectiveCheck = {
  name: 'other answers change the loss, and no prediction',
  async run(under) {
    const { examples, labels, objective } = under
    await evaluated(under, async (run) => {
      const [own, other] = [await run(examples), await run(otherwise(examples, labels))]
      if (close(lossOf(own), lossOf(other), 1e-6))
        fail(
          `the loss is ${lossOf(own).toFixed(5)} whatever the answers are: feed them in supervise and read them in build.`,
        )
      if (objective.rows) return
      const [before, after] = [numbers(own.predictions), numbers(other.predictions)]
      if (before.some((p, i) => p !== after[i]))
        fail('predictions change with the answers: they must follow from the model alone.')
    })
  },
}

const later: ObjectiveCheck = {
  name: 'no prediction knows the token that it predicts',
  async run(under) {
    const { objective, examples, cases } = under
    if (objective.answers !== 'text' || (cases.model ?? 'decoder') !== 'decoder') return
    const ended = (id: number) =>
      examples.map(({ ids, tokenLabels, ...rest }) => ({
        ...rest,
        ids: ids.with(-1, id),
        tokenLabels: tokenLabels?.with(-1, tokenLabels.at(-1) === -100 ? -100 : id),
      }))
    await evaluated(under, async (run) => {
      const first = numbers((await run(ended(3))).predictions)
      for (const id of [4, 9, 14, 19]) {
        const found = numbers((await run(ended(id))).predictions)
        if (found.some((p, i) => p !== first[i]))
          fail(
            'a prediction changes with the last token, which it is to predict: labels are shifted by one (row s predicts token s + 1).',
          )
      }
    })
  },
}

const gradients: ObjectiveCheck = {
  name: 'gradients equal finite differences',
  run: ({ bench }) => slopes(bench),
}

const finite: ObjectiveCheck = {
  name: 'confident logits give a finite loss',
  async run(under) {
    const large = (parameters: Float32Array, { variables, own }: Adapted) => {
      const scaled = parameters.slice()
      variables.list.forEach(({ name, offset, size }, i) => {
        const by = i >= own ? 1e4 : /head|classifier/.test(name) ? 300 : 1
        for (let k = offset; k < offset + size; k++) scaled[k] *= by
      })
      return scaled
    }
    await evaluated(
      under,
      async (run) => {
        const loss = lossOf(await run(under.examples))
        if (!Number.isFinite(loss))
          fail(
            `the loss is ${loss} where logits are in the hundreds: take LogSoftmax, not the logarithm of a softmax.`,
          )
      },
      large,
    )
  },
}

/** How well predictions agree with targets: greater is better, 0 the best where they are numbers, 1 where they are classes. */
function agreement(predictions: readonly number[], targets: readonly number[], exact: boolean): number {
  const each = targets.map((t, i) => (exact ? Number(predictions[i] === t) : -((predictions[i] - t) ** 2)))
  return each.reduce((a, b) => a + b, 0) / each.length
}
const learns: ObjectiveCheck = {
  name: 'training lowers the loss, and predictions come to agree with targets',
  async run(under) {
    const { bench, examples } = under
    const { targets } = supervisedIn(under, examples)
    const { losses, state } = await bench.train(1, 40, undefined, 0.05)
    if (losses.some((l) => !Number.isFinite(l)))
      return fail(`training gives losses that aren't finite: ${losses.slice(0, 5).join(', ')}.`)
    if (!(losses[losses.length - 1] < 0.95 * losses[0]))
      return fail(`the loss didn't fall in 40 steps: ${losses[0].toFixed(4)} → ${losses.at(-1)?.toFixed(4)}.`)
    const adapted = bench.adapt()
    await bench.outputs(adapted, async (run) => {
      const predicted = async (p: Float32Array) => (await run(p)).predictions
      const [before, after] = [
        await predicted(adapted.variables.initial(0)),
        await predicted(state.parameters),
      ]
      const exact = after.dtype === 'int64'
      const [was, is] = [before, after].map((p) => agreement(numbers(p), targets, exact))
      if (!(is > was || is === 1))
        fail(
          `the loss falls, but predictions agree with the targets no better (${was.toFixed(3)} → ${is.toFixed(3)}): do supervise's targets stand in the order of the predictions?`,
        )
    })
  },
}

const deploys: ObjectiveCheck = {
  name: 'what is exported says what was trained',
  async run({ objective, bench, labels, examples }) {
    if (!objective.deploy) return
    const adapted = bench.adapt()
    const parameters = bench.moved(adapted)
    if (!adapted.objective.logits || objective.answers !== 'example') return
    const built = await bench.outputs(adapted, async (run) => numbers((await run(parameters)).row_logits))
    const again = bench.adapt()
    const { model, variables } = again
    const known = new Map(variables.list.map((v) => [v.name, v.value]))
    const logits = objective.deploy({
      model,
      g: model.g,
      param: (name) => known.get(name) ?? fail(`deploy declares ${name}, which build doesn't.`),
      input: inputOf(model.g),
      labels: objective.classifies ? labels.length : 1,
      expectedRows: examples.length,
    })
    const graph = compileEvaluation({ ...again, objective: { ...again.objective, logits } })
    const feeds = {
      ...bench.feeds(again),
      parameters: { dtype: 'float32' as const, shape: [variables.total], data: parameters },
    }
    const deployed = numbers((await runOnce(graph, feeds)).row_logits)
    if (built.length !== deployed.length || built.some((v, i) => !close(v, deployed[i], 1e-4)))
      fail('deploy gives other logits than build: an exported model would predict something else.')
  },
}

/** The checks of an objective, in the order a failure is easiest to read. */
export const objectiveChecks: readonly ObjectiveCheck[] = [
  encodes,
  adds,
  targetsCount,
  later,
  gradients,
  finite,
  learns,
  deploys,
]
