import { GraftError } from '@graft-peft/core'
import type { Evaluation } from '@graft-peft/core/app'
import { validate } from '@graft-peft/core/inside'

/** Loss on a general text, before training and after. */
export interface Forgetting {
  before: number
  after: number
}
/** A test example, what was to be said, and what was. */
export interface Answer {
  input: string
  expected: string
  answer: string
}
/** What came of a run. Everything but the identity is absent where it failed or doesn't apply. */
export interface RunResult {
  id: string
  label: string
  method: string
  seed: number
  learning_rate: number
  status: 'done' | 'failed'
  /** why it failed */
  reason?: string
  /** of the base */
  parameters?: number
  trainable?: number
  adapter_bytes?: number
  examples?: number
  steps?: number
  tokens?: number
  compile_s?: number
  /** median of a step */
  step_s?: number
  train_s?: number
  tokens_per_s?: number
  peak_bytes?: number
  predicted_bytes?: number
  /** work of the whole training, from the graph */
  flops?: number
  /** scores by part of the data */
  before?: Record<string, Evaluation>
  after?: Record<string, Evaluation>
  forgetting?: Forgetting
  answers?: { shown: Answer[] }
  /** the loss rose, and what is kept is no better than what training began with */
  diverged?: boolean
  /** digest of all batches in their order: the same for every method */
  order?: string
  /** training loss, thinned out: [step, mean over the steps since the point before] */
  curve?: [number, number][]
  validation?: ({ step: number } & Evaluation)[]
  /** rank in use per module, at some steps, for methods that change it */
  ranks?: { step: number; ranks: Record<string, number> }[]
}

const text = { type: 'string' } as const
const size = { type: 'number', minimum: 0 } as const
const step = { type: 'integer', minimum: 0 } as const
/** a number that wasn't finite is null in JSON */
const score = { type: ['number', 'null'] } as const
const byName = (schema: object) => ({ type: 'object', additionalProperties: schema })
const list = (items: object) => ({ type: 'array', items })
const object = (properties: object, required = Object.keys(properties)) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required,
})
const parts = byName(byName(score))

/** What a line of results.jsonl, and a run's result.json, must look like: RunResult as a JSON Schema. */
const schema = object(
  {
    id: text,
    label: text,
    method: text,
    seed: { type: 'integer' },
    learning_rate: { type: 'number', exclusiveMinimum: 0 },
    status: { enum: ['done', 'failed'] },
    reason: text,
    parameters: size,
    trainable: size,
    adapter_bytes: size,
    examples: size,
    steps: size,
    tokens: size,
    compile_s: size,
    step_s: size,
    train_s: size,
    tokens_per_s: score,
    peak_bytes: size,
    predicted_bytes: size,
    flops: score,
    before: parts,
    after: parts,
    forgetting: object({ before: score, after: score }),
    answers: object({ shown: list(object({ input: text, expected: text, answer: text })) }),
    diverged: { type: 'boolean' },
    order: text,
    curve: list({ type: 'array', prefixItems: [step, score], minItems: 2, maxItems: 2 }),
    validation: list({ ...byName(score), properties: { step }, required: ['step'] }),
    ranks: list(object({ step, ranks: byName(size) })),
  },
  ['id', 'label', 'method', 'seed', 'learning_rate', 'status'],
)

/** A result from a file, which stands at `where`. Throws BAD_RESULTS naming the field. */
export function resultOf(value: Record<string, unknown>, where: string): RunResult {
  const found = validate<RunResult>(schema, value)
  if ('value' in found) return found.value
  const [{ path, message }] = found.complaints
  throw new GraftError(
    'BAD_RESULTS',
    `${where}: ${path.join('.') || 'the result'}: ${message}. Remove the line: its run is done again.`,
  )
}
