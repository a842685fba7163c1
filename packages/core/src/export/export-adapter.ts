import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically, writeOnnx } from '@graft-peft/onnx'
import { fileKey, moduleKey } from '../method/keys.js'
import { type OpenedAdapter, parametersOf } from '../adapter/open.js'
import { adapt } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import { GraftError } from '../errors.js'
import { classCount, inputOf } from '../objective/objective.js'
import { encodeAdapterFile } from './adapter-file.js'
import { makeFolder } from '../files/folders.js'

/** The files that were written, and how many numbers the adapter has. */
export interface ExportReport {
  model: string
  adapter: string
  parameters: number
}

/**
 * Writes an adapter in ONNX Runtime's own format, adapter.onnx_adapter, and the base as model.onnx with the
 * adapter's tensors as inputs that have defaults: without an adapter it is the base, with one active
 * (RunOptions.add_active_adapter, or onnxruntime-genai's set_active_adapter) the adapted model. Other
 * adapters of the same shape fit the same model.
 *
 * @throws OUTPUT_EXISTS.
 */
export function exportAdapter(opened: OpenedAdapter, output: string): ExportReport {
  const [model, file] = ['model.onnx', 'adapter.onnx_adapter'].map((name) => join(output, name))
  if (existsSync(model))
    throw new GraftError('OUTPUT_EXISTS', `${model} exists already. Choose another output, or remove it.`)
  const adapted = adapt(opened.model, { ...opened.options, training: false })
  const { variables } = adapted
  const { graph, g } = adapted.model
  const values = parametersOf(opened, adapted)
  const { method, methodOptions, objective } = opened.options
  const neutral = method.startsAsIdentity(methodOptions) ? variables.initial(0) : values
  const context = {
    model: adapted.model,
    g,
    param: variables.param,
    input: inputOf(g),
    labels: classCount(objective, opened.labels),
    expectedRows: 1,
  }
  const logits = objective.deploy?.(context) ?? adapted.model.logits
  const parameters = variables.list.map((variable) => {
    const { offset, size, shape } = variable
    const name = fileKey(variable).replace(moduleKey(''), '')
    const bytes = neutral.slice(offset, offset + size)
    const constant = graph.addConstant(name, {
      dtype: 'float32',
      shape,
      data: { bytes: new Uint8Array(bytes.buffer) },
    })
    graph.replaceUses(variable.value, constant)
    return {
      constant,
      parameter: { name: constant.name, shape, values: values.slice(offset, offset + size) },
    }
  })
  finish(g, { logits })
  // Constants that are inputs too can be given from outside.
  graph.inputs.push(...parameters.map((p) => p.constant))
  makeFolder(output)
  writeOnnx(graph, model)
  writeAtomically(file, encodeAdapterFile(parameters.map((p) => p.parameter)))
  return { model, adapter: file, parameters: values.length }
}
