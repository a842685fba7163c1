import type { MemoryMode } from '@graft-peft/onnx'
import type { Precision } from '../compile/precision.js'
import type { Registry } from '../container.js'
import { knownOptions, startingOptions } from '../method/options.js'
import { Random } from '../numbers/random.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import type { Quantisation } from '../model/quantise.js'
import type { Example } from '../data/example.js'
import { adamw } from '../optimizer/adamw.js'
import { checkIntegers } from '../runtime/integers.js'
import type { SessionOptions } from '../runtime/session.js'
import { Stepper } from '../step/stepper.js'
import { Step } from '../step/step.js'

/** What to time. */
export interface BenchmarkOptions extends SessionOptions {
  memory: MemoryMode
  quantize?: Quantisation
  precision?: Precision
  method: string
  methodOptions: Record<string, unknown>
  batch: number
  /** examples run at a time, their gradients added up before the update; all of them when left out */
  microBatch?: number
  /** tokens per example */
  sequence: number
  steps: number
  /** steps that are one run of the session; 1 when left out */
  stepsPerRun?: number
  /** share of each sequence, at its end, that is supervised */
  supervised: number
}
/** Seconds of a step and bytes of the process, as measured. */
export interface BenchmarkResult {
  step_s_min: number
  step_s_median: number
  /** greatest resident memory of the whole process, compiling included */
  peak_mb: number
  /** the same as predicted from the graph, before a session exists */
  predicted_peak_mb: number
  trainable: number
  /** from opening the model to a session ready to run */
  compile_s: number
  loss: number
}

/**
 * Times training steps of a language model on random tokens, the same batch each step.
 *
 * @throws UNKNOWN_PLUGIN for a method that isn't installed, BAD_CONFIG for options that it doesn't have, and what
 * opening the model throws.
 */
export async function benchmark(
  path: string,
  registry: Registry,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  const { batch, microBatch = batch, steps, stepsPerRun = 1, quantize, precision } = options
  const { device, threads, prepack, profile } = options
  if (precision === 'int8') checkIntegers(device)
  const started = performance.now()
  const model = openModel(path, { architectures: registry.all('architecture'), task: 'causal-lm', quantize })
  const parts = inParts(randomExamples(model, options), microBatch)
  const method = registry.get('method', options.method)
  const attaching = {
    method,
    methodOptions: startingOptions(method, knownOptions(method, options.methodOptions)).options,
    objective: registry.get('objective', 'causal-lm'),
    labels: 0,
    expectedRows: Math.round(microBatch * options.sequence * options.supervised),
    totalSteps: steps,
    precision,
  }
  const step = Step.of(model, attaching, {
    optimizer: adamw(),
    clip: 0,
    accumulate: parts.length > 1,
    memory: options.memory,
    sample: parts[0],
    pad: 0,
    prepack,
    loop: stepsPerRun > 1,
  })
  const { variables } = step.adapted
  const stepper = await Stepper.open(step, variables.initial(0), { device, threads, prepack, profile })
  const compile_s = (performance.now() - started) / 1000
  try {
    const timed = await timeSteps(stepper, parts, { steps, stepsPerRun })
    return {
      ...timed,
      peak_mb: Math.round(process.resourceUsage().maxRSS / 1024),
      predicted_peak_mb: Math.round(stepper.forecast.peak / 2 ** 20),
      trainable: variables.total,
      compile_s,
    }
  } finally {
    await stepper.close()
  }
}

async function timeSteps(
  stepper: Stepper,
  batches: readonly Example[][],
  { steps, stepsPerRun }: { steps: number; stepsPerRun: number },
) {
  const seconds: number[] = []
  let loss = Number.NaN
  for (let first = 1; first <= steps; first += stepsPerRun) {
    const count = Math.min(stepsPerRun, steps + 1 - first)
    const wanted = Array.from({ length: count }, (_, i) => ({ t: first + i, rate: 1e-4, batches }))
    const start = performance.now()
    const results = await stepper.steps(wanted)
    loss = results[count - 1].loss
    seconds.push((performance.now() - start) / 1000 / count)
  }
  const sorted = seconds.sort((a, b) => a - b)
  return { step_s_min: sorted[0], step_s_median: sorted[Math.floor(sorted.length / 2)], loss }
}

const inParts = (examples: readonly Example[], size: number): Example[][] =>
  Array.from({ length: Math.ceil(examples.length / size) }, (_, k) =>
    examples.slice(k * size, (k + 1) * size),
  )

function randomExamples(model: Model, { batch, sequence, supervised }: BenchmarkOptions): Example[] {
  const random = new Random(0, 'benchmark')
  const vocabulary = Number(model.logitsShape.at(-1))
  const first = Math.round(sequence * (1 - supervised))
  return Array.from({ length: batch }, () => {
    const ids = Array.from({ length: sequence }, () => 3 + random.below(vocabulary - 3))
    return { ids, tokenLabels: ids.map((id, s) => (s < first ? -100 : id)) }
  })
}
