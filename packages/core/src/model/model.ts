import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Builder, type Graph, readOnnx, type Shape, shapeOf, simplify, type Value } from '@graft-peft/onnx'
import type { Architecture, Task } from '../architecture/architecture.js'
import { hasCheckpoint } from '../architecture/checkpoint.js'
import { type BuildOptions, buildModel } from '../architecture/open.js'
import { GraftError, suggestion } from '../errors.js'
import { anatomy } from './anatomy.js'
import { attentions } from './attention.js'
import type { AttentionSite, ConvSite, EmbeddingSite, LinearSite, NormSite, Site } from './site.js'
import { type Quantisation, quantise } from './quantise.js'
import { shareTiedOutput } from './tied.js'

/** A pretrained model: its forward graph and the modules found in it. Frozen: adaptation happens on a fork. */
export class Model {
  readonly g: Builder
  readonly sites: readonly Site[]
  /** things worth telling the user that stop nothing */
  readonly notices: string[] = []

  constructor(
    readonly graph: Graph,
    /** the .onnx file */
    readonly file: string,
    /** the folder that holds config.json and tokenizer.json */
    readonly folder: string,
    /** what it was built for; unknown for an ONNX file */
    readonly task?: Task,
  ) {
    this.g = new Builder(graph)
    this.sites = anatomy(this.g)
  }

  /**
   * Opens a model: an .onnx file, a Hugging Face folder (config.json and safetensors) of one of `architectures`, or a folder with
   * model.onnx or onnx/model.onnx. Throws MODEL_NOT_FOUND, and what building or reading ONNX throws.
   */
  static open(path: string, { quantize, ...options }: OpenOptions = {}): Model {
    const model = Model.read(path, options)
    if (!quantize) return model
    quantise(model)
    return model.fork()
  }
  private static read(path: string, { architectures = [], ...options }: OpenOptions): Model {
    const full = existing(path)
    if (options.weightless || isCheckpoint(full)) {
      const { graph, file, task } = buildModel(full, architectures, options)
      return new Model(graph, file, full, task)
    }
    const file = findOnnx(full)
    const graph = readOnnx(file, { withoutCache: !options.cache })
    simplify(graph)
    const model = new Model(graph, file, folderOf(file))
    shareTiedOutput(model.g, model.outputEmbedding, model.embeddings)
    graph.prune()
    return new Model(graph, file, model.folder)
  }

  /** A copy to adapt: nodes of its own, weights shared. */
  fork(): Model {
    return new Model(this.graph.clone().graph, this.file, this.folder, this.task)
  }

  /** what `open` takes to open it again */
  get path(): string {
    return this.task ? this.folder : this.file
  }

  private of<K extends Site['kind']>(kind: K): Extract<Site, { kind: K }>[] {
    return this.sites.filter((s): s is Extract<Site, { kind: K }> => s.kind === kind)
  }
  get linears(): LinearSite[] {
    return this.of('linear')
  }
  get embeddings(): EmbeddingSite[] {
    return this.of('embedding')
  }
  get norms(): NormSite[] {
    return this.of('norm')
  }
  get convolutions(): ConvSite[] {
    return this.of('conv')
  }

  /** Every layer's attention, first layer first. */
  get attentions(): AttentionSite[] {
    return attentions(this.graph)
  }
  /** The table that turns token ids into the model's first hidden states. */
  get tokenEmbedding(): EmbeddingSite | undefined {
    return this.embeddings.find(({ node }) => {
      let ids = node.inputs[1]
      while (ids?.producer && ['Reshape', 'Cast', 'Identity'].includes(ids.producer.op))
        ids = ids.producer.inputs[0]
      return ids?.name === 'input_ids'
    })
  }

  input(name: string): Value {
    const found = this.graph.inputs.find((v) => v.name === name)
    if (!found)
      throw new GraftError(
        'NO_INPUT',
        `${this.file}: the graph has no input ${name}. ${suggestion(
          name,
          this.graph.inputs.map((v) => v.name),
        )}`,
      )
    return found
  }
  /** The output that holds logits: the one of that name, or the only one. */
  get logits(): Value {
    const { outputs } = this.graph
    const found =
      outputs.find((v) => v.name === 'logits' || v.producer?.outputs.some((o) => o?.name === 'logits')) ??
      outputs[0]
    if (!found) throw new GraftError('NO_LOGITS', `${this.file}: the graph has no outputs.`)
    return found
  }
  get logitsShape(): Shape {
    return shapeOf(this.logits)
  }

  /** The linear layer that turns hidden states into logits, found by walking back over elementwise operators. */
  get head(): LinearSite | undefined {
    let value: Value | undefined = this.logits
    const byOutput = new Map(this.linears.map((s) => [s.output.value, s]))
    for (let i = 0; value && i < 16; i++) {
      const site: LinearSite | undefined = byOutput.get(value)
      if (site) return site
      const computed: Value[] = value.producer?.inputs.filter((v): v is Value => !!v && !v.data) ?? []
      value = computed.length === 1 || value.producer?.op === 'Reshape' ? computed[0] : undefined
    }
    return undefined
  }
  /** The head of a language model: logits per position, one per row of a token embedding. HF leaves it out of "all-linear". */
  get outputEmbedding(): LinearSite | undefined {
    const { head } = this
    const rows = this.embeddings.map((e) => e.rows)
    return head && this.logitsShape.length === 3 && (rows.length === 0 || rows.includes(head.outFeatures))
      ? head
      : undefined
  }

  /** config.json of the model's folder, if there is one. */
  get config(): Record<string, unknown> {
    const path = join(this.folder, 'config.json')
    if (!existsSync(path)) return {}
    try {
      return JSON.parse(readFileSync(path, 'utf8'))
    } catch (cause) {
      throw new GraftError('BAD_MODEL_CONFIG', `${path}: not JSON (${(cause as Error).message}).`, { cause })
    }
  }
  /** Numbers in all parameters that float operators read. */
  get parameterCount(): number {
    const sizes = this.graph
      .constants()
      .map(
        (v) =>
          ((v.shape ?? []) as number[]).reduce((a, b) => a * b, 1) *
          (/_(int4|Q4|quant)$/.test(v.name) ? 2 : 1),
      )
    return sizes.filter((n) => n > 1).reduce((a, b) => a + b, 0)
  }
}

export interface OpenOptions extends BuildOptions {
  /** those that a Hugging Face folder may be of */
  architectures?: readonly Architecture[]
  /** keep the frozen weights of linear layers in fewer bits */
  quantize?: Quantisation | null
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
