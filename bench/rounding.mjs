// What products in 8-bit integers do to a sentence encoder's embeddings: node bench/rounding.mjs MODEL TEXTS [--column text] [--count 128]
import { parseArgs } from 'node:util'
import { Coder } from '@graft-peft/core'
import { openModel, readRecords } from '@graft-peft/core/app'
import { adamw, Evaluator, inMemory, methodOptions, Step, surveyRounding } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { column: { type: 'string', default: 'text' }, count: { type: 'string', default: '128' } },
})
const [path, texts] = positionals
if (!texts) {
  console.log('node bench/rounding.mjs MODEL TEXTS [--column text] [--count 128]')
  process.exit(1)
}
const registry = defaultRegistry()
const objective = registry.get('objective', 'sentence-embedding')
const model = openModel(path, { architectures: registry.all('architecture'), task: 'features' })
const method = registry.get('method', 'lora')
const attaching = {
  method,
  methodOptions: methodOptions(method, { target_modules: 'all-linear' }),
  objective,
  labels: 0,
  expectedRows: 32,
  totalSteps: 1,
}
const coder = new Coder(model, [], {
  columns: { text: values.column },
  max_length: 128,
  train_on_prompt: false,
})
const all = []
for await (const record of readRecords(texts)) all.push(record)
const step = Math.floor(all.length / Number(values.count))
const spread = all.filter((_, i) => i % step === 0).slice(0, Number(values.count))
const examples = await Promise.all(spread.map((record) => coder.load(objective.input(record, coder))))

const settings = { optimizer: adamw(), clip: 0, accumulate: false, memory: 'balanced', pad: coder.pad }
const pairs = examples.slice(0, 16).map((e, i) => ({ ...e, others: [examples[i + 16].ids] }))
const planned = Step.of(model, { ...attaching, precision: 'int8' }, { ...settings, sample: pairs })
const { plan, errors } = await surveyRounding(planned, {})
const naive = { ...plan, wide: new Set(), smoothing: new Map() }

/** Embeddings of the texts under the model alone: LoRA starts as nothing. */
async function embeddings(how) {
  const options = { ...attaching, ...how }
  const evaluator = await Evaluator.open(model, options, { pad: coder.pad, batchSize: 32 })
  try {
    const { variables } = planned.adapted
    return await evaluator.embeddings(inMemory(examples), variables.initial(0))
  } finally {
    await evaluator.close()
  }
}
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0)
const nearest = (vectors) =>
  vectors.map((v, i) => {
    const scores = vectors.map((w, j) => (i === j ? -1 : dot(v, w)))
    return scores.indexOf(Math.max(...scores))
  })
const exact = await embeddings({})
for (const [name, integers] of Object.entries({ 'all in int8': naive, 'int8 as surveyed': plan })) {
  const found = await embeddings({ precision: 'int8', integers })
  const cosines = found.map((v, i) => dot(v, exact[i])).sort((a, b) => a - b)
  const [a, b] = [nearest(exact), nearest(found)]
  const mean = cosines.reduce((sum, c) => sum + c, 0) / cosines.length
  const same = a.filter((k, i) => k === b[i]).length / a.length
  console.log(
    `${name}: cosine ${mean.toFixed(5)} in the mean, ${cosines[0].toFixed(5)} at least; ${(100 * same).toFixed(1)} % of nearest neighbours the same`,
  )
}
const forward = Object.keys(errors).filter((name) => !name.endsWith('(backward)'))
console.log(
  `products: ${Object.keys(errors).length}, ${forward.length} of them forward; smoothed ${plan.smoothing.size}; in float32 ${plan.wide.size}: ${[...plan.wide].join(', ')}`,
)
const worst = Object.entries(errors).sort(([, a], [, b]) => b - a)
for (const [name, error] of worst.slice(0, 12)) console.log(`${(100 * error).toFixed(2)} % ${name}`)
