import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Builder, type Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { readJson } from '../files/json.js'
import { locateTensors } from '../files/safetensors.js'

/** How sentence-transformers makes one vector of a text: modules.json and its folders. */
export interface Pooling {
  mode: Mode
  /** linear layers behind it */
  dense: readonly Dense[]
}
interface Dense {
  folder: string
  activation: 'Identity' | 'Tanh'
}

/** [batch, width] of hidden states [batch, sequence, width] and which tokens are real, [batch, sequence, 1] as 0 and 1. */
const modes = {
  cls: (g: Builder, hidden: Value) => g.squeeze(g.slice(hidden, 0, 1, 1), [1]),
  mean: (g: Builder, hidden: Value, real: Value) =>
    g.div(g.reduceSum(g.mul(hidden, real), [1], false), g.reduceSum(real, [1], false)),
  lasttoken: (g: Builder, hidden: Value, real: Value) => {
    const count = g.reduceSum(real, [1])
    const isLast = g.cast(g.equal(g.mul(g.op('CumSum', [real, g.int(1)]), real), count), 'float32')
    return g.reduceSum(g.mul(hidden, isLast), [1], false)
  },
}
type Mode = keyof typeof modes

/** The vector of each text, [batch, width]. */
export function pooled(g: Builder, { mode, dense }: Pooling, hidden: Value, mask: Value): Value {
  const real = g.unsqueeze(g.cast(g.cast(mask, 'bool'), 'float32'), [-1])
  return dense.reduce((x, layer) => project(g, layer, x), modes[mode](g, hidden, real))
}

function project(g: Builder, { folder, activation }: Dense, x: Value): Value {
  const { tensors } = locateTensors(join(folder, 'model.safetensors'))
  const parameter = (name: string): Value | undefined => {
    const found = tensors.get(name)
    if (!found) return undefined
    const { dtype, shape, file, offset, length } = found
    const type = ({ F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const)[dtype as 'F32']
    if (!type) throw new GraftError('UNSUPPORTED_TYPE', `${file}: ${name} is ${dtype}.`)
    const data = { file, offset, length }
    return g.cast(g.graph.addConstant(`${folder}.${name}`, { dtype: type, shape, data }), 'float32')
  }
  const weight = parameter('linear.weight')
  if (!weight)
    throw new GraftError('MISSING_TENSOR', `${folder}/model.safetensors: linear.weight is missing.`)
  const bias = parameter('linear.bias')
  const y = bias ? g.add(g.linear(x, weight), bias) : g.linear(x, weight)
  return activation === 'Tanh' ? g.tanh(y) : y
}

/**
 * What a model's folder asks for; the mean where it has no modules.json. Throws UNSUPPORTED_POOLING for what isn't understood, BAD_MODEL_CONFIG
 * for files that aren't JSON.
 */
export function poolingOf(folder: string): Pooling {
  const path = join(folder, 'modules.json')
  if (!existsSync(path)) return { mode: 'mean', dense: [] }
  const modules = json(path) as { type?: string; path?: string }[]
  if (!Array.isArray(modules)) throw unsupported(path, 'it should be a list of modules')
  const found = modules.map(({ type, path: at = '' }) => ({
    kind: String(type).split('.').at(-1),
    folder: join(folder, at),
  }))
  const strange = found.find(
    ({ kind }) => !['Transformer', 'Pooling', 'Dense', 'Normalize'].includes(kind ?? ''),
  )
  if (strange) throw unsupported(path, `module ${strange.kind} is not known here`)
  const pooling = found.find(({ kind }) => kind === 'Pooling')
  return {
    mode: pooling ? modeOf(join(pooling.folder, 'config.json')) : 'mean',
    dense: found.filter(({ kind }) => kind === 'Dense').map((m) => denseOf(m.folder)),
  }
}

function modeOf(path: string): Mode {
  const config = json(path) as Record<string, unknown>
  const older = Object.keys(config).filter((key) => key.startsWith('pooling_mode_') && config[key] === true)
  const asked = [
    config.pooling_mode ?? older.map((key) => key.replace(/pooling_mode_|_tokens?$/g, '')),
  ].flat()
  const [mode = 'mean'] = asked.map(String)
  if (asked.length > 1 || !(mode in modes))
    throw unsupported(path, `pooling by ${asked.join(' and ')}; known are ${Object.keys(modes).join(', ')}`)
  return mode as Mode
}

function denseOf(folder: string): Dense {
  const path = join(folder, 'config.json')
  const config = json(path) as Record<string, unknown>
  const activation = String(config.activation_function ?? 'Tanh')
    .split('.')
    .at(-1)
  if (activation !== 'Identity' && activation !== 'Tanh') throw unsupported(path, `activation ${activation}`)
  return { folder, activation }
}

const json = (path: string): unknown => readJson(path, 'BAD_MODEL_CONFIG')
const unsupported = (path: string, why: string): GraftError =>
  new GraftError(
    'UNSUPPORTED_POOLING',
    `${path}: ${why}. A vector made otherwise would be another model's; give a model that pools so, or take modules.json away for the mean.`,
  )
