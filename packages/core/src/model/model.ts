import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Builder, is, type Graph, type Shape, shapeOf, type Value } from '@graft-peft/onnx'
import type { Task } from '../architecture/architecture.js'
import { GraftError, suggestion } from '../errors.js'
import { readObject } from '../files/json.js'
import { anatomy } from './anatomy.js'
import { attentions } from './attention.js'
import type { AttentionSite, ConvSite, EmbeddingSite, LinearSite, NormSite, Site } from './site.js'

/** A pretrained model: its forward graph and the modules found in it. Frozen: adaptation happens on a fork. */
export class Model {
  readonly g: Builder
  readonly sites: readonly Site[]
  /** things worth telling the user that stop nothing */
  readonly notices: string[] = []
  /** tokens that its tables have rows for beyond its tokenizer's own */
  addedTokens: readonly string[] = []
  /** the file that its folder was made of, where it was given as one of another kind */
  origin?: string
  /** the modules that a method chose here; and the names that say so, where they say no more than that */
  targeted?: { paths: readonly string[]; names?: readonly string[] | string }

  constructor(
    readonly graph: Graph,
    /** the .onnx file */
    readonly file: string,
    /** the folder that holds config.json and tokenizer.json */
    readonly folder: string,
    /** what it was built for; unknown for an ONNX file */
    readonly task?: Task,
    /** tokens in a text that it has positions for */
    readonly positions = Number.POSITIVE_INFINITY,
  ) {
    this.g = new Builder(graph)
    this.sites = anatomy(this.g, task === undefined)
  }

  /** A copy to adapt: nodes of its own, weights shared. */
  fork(): Model {
    const fork = new Model(this.graph.clone().graph, this.file, this.folder, this.task, this.positions)
    fork.notices.push(...this.notices)
    fork.addedTokens = this.addedTokens
    fork.origin = this.origin
    return fork
  }

  /** what `open` takes to open it again */
  get path(): string {
    return this.origin ?? (this.task ? this.folder : this.file)
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
      while (ids?.producer && is(ids.producer.op, 'view', 'widening')) ids = ids.producer.inputs[0]
      return ids?.name === 'input_ids'
    })
  }

  /** @throws NO_INPUT for a name that the graph doesn't have. */
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
  /**
   * The output that holds logits: the one of that name, or the only one.
   *
   * @throws NO_LOGITS for a graph without outputs.
   */
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
    return readObject(path, 'BAD_MODEL_CONFIG')
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
