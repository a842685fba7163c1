import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Architecture } from '../architecture/architecture.js'
import { type Imported, importGguf } from '../architecture/gguf/import.js'
import { hasCheckpoint } from '../architecture/checkpoint.js'
import { type BuildOptions, buildModel, readModelConfig, positionsOf } from '../architecture/open.js'
import { GraftError } from '../errors.js'
import { shown } from '../files/json.js'
import { readOnnx, simplify } from '@graft-peft/onnx'
import { shareTiedOutput } from './tied.js'
import { Model } from './model.js'
import { quantise } from './quantise.js'
import { type Quantisation } from './quantise.js'

/** How a model is opened: the architectures it may be of, and the bits its frozen weights are kept in. */
export interface OpenOptions extends BuildOptions {
  /** those that a Hugging Face folder may be of */
  architectures?: readonly Architecture[]
  /** keep the frozen weights of linear layers in fewer bits */
  quantize?: Quantisation | null
  /** tokens added to its tokenizer; `vocabulary` says whether its tables grow for them */
  tokens?: readonly string[]
}

/**
 * Opens a model: an .onnx file, a Hugging Face folder (config.json and safetensors) of one of
 * `architectures`, a GGUF file of one of them, or a folder with model.onnx or onnx/model.onnx.
 *
 * @throws MODEL_NOT_FOUND, and what building or reading ONNX throws.
 */
export function openModel(path: string, { quantize, tokens = [], ...options }: OpenOptions = {}): Model {
  const model = read(path, options)
  model.addedTokens = tokens
  if (!quantize) return model
  quantise(model, options.weightless)
  return model.fork()
}
function read(path: string, { architectures = [], ...options }: OpenOptions): Model {
  const given = existing(path)
  const imported = ggufOf(given)
  const { folder: full, notice } = imported ?? { folder: given, notice: undefined }
  const exported = exportOfUnknown(full, architectures)
  if (options.weightless || (isCheckpoint(full) && !exported)) {
    const { graph, file, task, positions, notices } = buildModel(full, architectures, options)
    const model = new Model(graph, file, full, task, positions)
    model.notices.push(...(notice ? [notice] : []), ...notices)
    if (imported) model.origin = given
    return model
  }
  const file = exported ?? findOnnx(full)
  const graph = readOnnx(file, { withoutCache: !options.cache })
  simplify(graph)
  const model = new Model(graph, file, folderOf(file))
  shareTiedOutput(model.g, model.outputEmbedding, model.embeddings)
  graph.prune()
  const opened = new Model(
    graph,
    file,
    model.folder,
    undefined,
    positionsOf(model.folder, model.config, architectures),
  )
  if (exported)
    opened.notices.push(
      `No architecture builds model_type ${shown(model.config.model_type)}; opened ${exported} instead.`,
    )
  return opened
}

/** An ONNX file in a folder whose model_type no architecture builds: the same model, made by who could. */
function exportOfUnknown(full: string, architectures: readonly Architecture[]): string | undefined {
  if (!isCheckpoint(full) || !existsSync(join(full, 'config.json'))) return undefined
  const type = String(readModelConfig(full).model_type)
  if (architectures.some((a) => a.modelTypes.includes(type))) return undefined
  return ['onnx/model.onnx', 'model.onnx'].map((f) => join(full, f)).find(existsSync)
}

/** A GGUF file, or the only one of a folder that has no other weights, as a Hugging Face folder. */
function ggufOf(full: string): Imported | undefined {
  if (full.endsWith('.gguf')) return importGguf(full)
  if (!statSync(full).isDirectory() || isCheckpoint(full)) return undefined
  const names = readdirSync(full)
  const files = names.filter((name) => name.endsWith('.gguf'))
  return files.length === 1 && !names.some((name) => /^onnx$|\.onnx$/.test(name))
    ? importGguf(join(full, files[0]))
    : undefined
}

function existing(path: string): string {
  const full = resolve(path)
  if (existsSync(full)) return full
  throw new GraftError(
    'MODEL_NOT_FOUND',
    `${path}: no such file or folder. Give a Hugging Face folder (config.json and model.safetensors), or an .onnx file.`,
  )
}

/** Whether a path is a folder with a model's weights in safetensors. */
export const isCheckpoint = (path: string): boolean => statSync(path).isDirectory() && hasCheckpoint(path)

function findOnnx(full: string): string {
  if (!statSync(full).isDirectory()) return full
  const found = ['model.onnx', 'onnx/model.onnx'].map((f) => join(full, f)).find(existsSync)
  if (!found)
    throw new GraftError(
      'MODEL_NOT_FOUND',
      `${full}: the folder holds no weights: neither model.safetensors (or its index) nor model.onnx nor onnx/model.onnx.${pickled(full)}`,
    )
  return found
}

const pickled = (folder: string): string =>
  existsSync(join(folder, 'pytorch_model.bin'))
    ? ' pytorch_model.bin runs code when it is loaded, so Graft does not read it; convert it to safetensors (huggingface.co/spaces/safetensors/convert).'
    : ''

function folderOf(file: string): string {
  const folder = dirname(file)
  return existsSync(join(folder, 'config.json')) || !existsSync(join(dirname(folder), 'config.json'))
    ? folder
    : dirname(folder)
}
