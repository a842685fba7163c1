import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically, writeOnnx } from '@graft-peft/onnx'
import { storedFloats, type StoredTensor, writeSafetensors } from '../files/safetensors.js'
import { next } from '../compile/step.js'
import type { Registry } from '../container.js'
import { EpochBatches } from '../data/batches.js'
import { take } from '../data/dataset.js'
import { GraftError } from '../errors.js'
import { learningRate } from '../optimizer/schedule.js'
import { feedsFor, lowered } from '../runtime/lowered.js'
import type { Tensors } from '../runtime/tensor.js'
import type { TrainConfig } from '../config/config.js'
import { readInputs } from '../trainer/inputs.js'
import { compileRun } from '../trainer/run.js'
import { makeFolder } from '../files/folders.js'

/** The folder of a training step for other runtimes, and what it holds. */
export interface TrainingExport {
  folder: string
  parameters: number
  steps: number
}

/**
 * Writes a compiled training step and all it starts from, for any ONNX Runtime to run: step.onnx with its
 * weights, state.safetensors (the vectors that each step takes and returns), batches.safetensors (feeds of
 * the first steps), step.json (what feeds what), and an example each for Python and the browser. The step is
 * spelt for the config's device.
 *
 * @throws OUTPUT_EXISTS, NO_ACCUMULATION for a config that accumulates gradients, and what preparing throws.
 */
export async function exportTraining(
  config: TrainConfig,
  registry: Registry,
  folder: string,
  batches = 8,
): Promise<TrainingExport> {
  if (existsSync(join(folder, 'step.onnx')))
    throw new GraftError(
      'OUTPUT_EXISTS',
      `${folder} already holds a training step. Choose another output, or remove it.`,
    )
  if (config.training.gradient_accumulation > 1)
    throw new GraftError(
      'NO_ACCUMULATION',
      'An exported step takes one batch: set training.gradient_accumulation=1.',
    )
  makeFolder(folder)
  const inputs = await readInputs({ ...config, output: folder }, registry)
  try {
    const { graph: compiled, state, feedsOf } = await compileRun(config, inputs)
    const graph = lowered(compiled, config.device)
    const types = new Map(graph.inputs.map((v) => [v.name, v.dtype]))
    const epoch = new EpochBatches(inputs.train, config.training.batch_size, config.seed, 0)
    const count = Math.min(batches, epoch.count, inputs.totalSteps)
    const tensors = new Map<string, StoredTensor>()
    for (let t = 1; t <= count; t++) {
      const feeds = feedsOf(
        t,
        learningRate(config.training, config.schedule, t, inputs.totalSteps),
        await take(inputs.train, epoch.batch(t - 1)),
      )
      for (const [name, tensor] of stored(feedsFor(types, feeds))) tensors.set(`${t}/${name}`, tensor)
    }
    const data = writeOnnx(graph, join(folder, 'step.onnx'))
    writeSafetensors(join(folder, 'state.safetensors'), {
      tensors: new Map(Object.entries(state).map(([name, v]) => [name, storedFloats(v, [v.length])])),
      metadata: {},
    })
    writeSafetensors(join(folder, 'batches.safetensors'), { tensors, metadata: {} })
    const described = {
      device: config.device,
      state: Object.keys(state).map((name) => ({ input: name, output: next(name) })),
      batches: count,
      data,
      inputs: graph.inputs.map(describe),
      outputs: graph.outputs.map(describe),
    }
    writeAtomically(join(folder, 'step.json'), `${JSON.stringify(described, null, 2)}\n`)
    for (const name of ['run.py', 'browser.html'])
      writeAtomically(join(folder, name), readFileSync(new URL(`../../templates/${name}`, import.meta.url)))
    return { folder, parameters: state.parameters.length, steps: count }
  } finally {
    inputs.close()
  }
}

const describe = ({
  name,
  dtype,
  shape,
}: {
  name: string
  dtype: string
  shape: readonly (number | string)[] | null
}) => ({ name, dtype, shape })
const types = { float32: 'F32', int64: 'I64', int32: 'I32', bool: 'BOOL', float64: 'F64' } as const
const stored = (feeds: Tensors): [string, StoredTensor][] =>
  Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
    name,
    { dtype: types[dtype], shape, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) },
  ])
