import { createHash } from 'node:crypto'
import { rmdirSync } from 'node:fs'
import type { Registry } from '../container.js'
import { checkInputs } from '../data/batches.js'
import { growth } from '../data/added-tokens.js'
import { Coder, defaultMaxLength } from '../data/coder.js'
import { type Dataset, inMemory, Spool } from '../data/dataset.js'
import { HoldOut } from '../data/hold-out.js'
import { packed } from '../data/packing.js'
import { type Reader, readRecords } from '../data/readers.js'
import type { DataRecord, Notice } from '../data/records.js'
import { GraftError } from '../errors.js'
import { modelDigest } from '../files/digest.js'
import type { Metric } from '../metric/metric.js'
import { type Model } from '../model/model.js'
import { openModel } from '../model/open.js'
import { type Example, isEmpty, supervisedRows } from '../data/example.js'
import { type Objective, classCount } from '../objective/objective.js'
import type { TrainConfig } from '../config/config.js'
import { surveyData, unreadColumns } from './survey.js'
import { guarded } from '../blame.js'
import { decisive, identity } from './decisive.js'
import { checkPacking, checkVocabulary } from './fitting.js'
import { makeFolder } from '../files/folders.js'

/** What encoding did to a part of the data, for the user to read. */
export interface EncodeReport {
  examples: number
  truncated: number
  /** examples left without a supervised token, dropped */
  unsupervised: number
  /** what was left out, by reason: examples, turns of the assistant, tokens */
  left: Record<string, number>
  tokens: number
  supervised: number
  /** rows that examples were packed into */
  rows: number
  /** tokens of the longest row */
  longest: number
}
export type Split = 'train' | 'validation' | 'test'

/** Everything a run needs, read and checked before anything is compiled. */
export interface RunInputs {
  model: Model
  objective: Objective
  /** why it is that objective */
  reason: string
  /** what was guessed or passed over in the data */
  notices: readonly string[]
  metrics: readonly Metric[]
  labels: string[]
  pad: number
  max_length: number
  train: Dataset
  validation: Dataset
  test: Dataset
  /** what encoding did, per part of the data */
  reports: Partial<Record<Split, EncodeReport>>
  /** how the validation part was chosen from the training file: the same share of each class, or any; undefined where it is a file or none */
  heldOut?: 'by class' | 'at random'
  stepsPerEpoch: number
  totalSteps: number
  fingerprint: string
  /** removes what preparing wrote to disk */
  close(): void
}

/** Opens the model and encodes the data. Throws what opening, reading and encoding throw. */
export async function readInputs(config: TrainConfig, registry: Registry): Promise<RunInputs> {
  const notices = new Set<string>()
  const notice: Notice = (text) => notices.add(text)
  const { objective, reason, labels, sizes } = await surveyData(config, registry, notice)
  const model = openModel(config.model, {
    architectures: registry.all('architecture'),
    task: objective.task,
    labels: classCount(objective, labels),
    seed: config.seed,
    quantize: config.quantize,
    ...(config.tokens.length > 0 ? growth(config.model, config.tokens) : {}),
  })
  checkInputs(model.graph.inputs)
  checkPacking(config, model, objective)
  const tasks = config.method.tasks?.(config.methodOptions)
  const coding = { ...config.data, max_length: maxLength(config, model), tasks }
  const coder = new Coder(model, labels, coding, notice)
  const preparing = new Encoding(config, objective, coder, sizes, notice, registry.all('reader'))
  try {
    const { train, validation, test } = await preparing.parts()
    const { batch_size, gradient_accumulation, epochs, max_steps } = config.training
    const stepsPerEpoch = Math.ceil(Math.ceil(train.length / batch_size) / gradient_accumulation)
    return {
      model,
      objective,
      reason,
      notices: [...notices],
      labels,
      train,
      validation,
      test,
      metrics: chooseMetrics(config, objective).map((name) => registry.get('metric', name)),
      pad: coder.pad,
      max_length: coder.options.max_length,
      reports: preparing.reports,
      heldOut: preparing.heldOut,
      stepsPerEpoch,
      totalSteps: max_steps ?? epochs * stepsPerEpoch,
      get fingerprint() {
        return preparing.fingerprint
      },
      close: () => preparing.close(),
    }
  } catch (error) {
    preparing.close()
    throw error
  }
}

/** The metrics of the objective, the config's first where it names one. */
const chooseMetrics = ({ metric }: TrainConfig, { metrics }: Objective): string[] => [
  ...new Set([...(metric ? [metric] : []), ...metrics]),
]

function maxLength({ data }: TrainConfig, model: Model): number {
  const limit = model.positions
  if (data.max_length !== null && data.max_length > limit)
    throw new GraftError(
      'TOO_LONG',
      `data.max_length: ${data.max_length} is more than the model's ${limit} positions. Set it to ${limit} or less.`,
    )
  return data.max_length ?? defaultMaxLength(model)
}

/** Encodes the parts of a run's data, and remembers what it did. */
class Encoding {
  readonly reports: Partial<Record<Split, EncodeReport>> = {}
  /** how the validation part was chosen, where it was */
  heldOut?: 'by class' | 'at random'
  private readonly spools: Spool[] = []
  private readonly hash = createHash('sha256')
  private seen?: string

  constructor(
    private readonly config: TrainConfig,
    private readonly objective: Objective,
    private readonly coder: Coder,
    private readonly sizes: ReadonlyMap<string, number>,
    private readonly notice: Notice,
    private readonly known: readonly Reader[],
  ) {
    makeFolder(config.output)
    this.hash.update(JSON.stringify([decisive(config), coder.labels]))
  }

  async parts(): Promise<Record<Split, Dataset>> {
    const { train, validation, test } = this.config.data
    if (typeof validation === 'string')
      return {
        train: await this.part('train', this.records(train)),
        validation: await this.part('validation', this.records(validation, this.notice)),
        test: await this.file('test', test),
      }
    const held = new HoldOut(this.sizes, validation, this.config.seed, 'validation')
    const chosen = (wanted: boolean) => {
      const isHeld = held.pass()
      return select(this.records(train), (record) => isHeld(this.groupOf(record)) === wanted)
    }
    if (validation > 0) this.tellHeldOut(held)
    return {
      train: await this.part('train', chosen(false)),
      validation: held.count > 0 ? await this.part('validation', chosen(true)) : inMemory([]),
      test: await this.file('test', test),
    }
  }
  private get isByClass(): boolean {
    return this.objective.classifies && this.objective.answers === 'example'
  }
  private groupOf(record: DataRecord): string {
    return this.isByClass ? this.objective.labelsOf(record, this.config.data.columns)[0] : ''
  }
  private tellHeldOut(held: HoldOut<string>): void {
    if (held.count > 0) this.heldOut = this.isByClass ? 'by class' : 'at random'
    const { length, 0: first } = held.without
    if (this.isByClass && length > 0)
      this.notice(
        `${length} of ${this.sizes.size} classes, such as ${first}, have too few examples for one to be held out for validation.`,
      )
  }
  private async file(name: Split, path: string | null): Promise<Dataset> {
    return path ? this.part(name, this.records(path, this.notice)) : inMemory([])
  }
  private records(path: string, notice?: Notice): AsyncIterable<DataRecord> {
    return readRecords(path, notice, this.known)
  }

  private async part(name: Split, records: AsyncIterable<DataRecord>): Promise<Dataset> {
    const report: EncodeReport = {
      examples: 0,
      truncated: 0,
      unsupervised: 0,
      left: {},
      tokens: 0,
      supervised: 0,
      rows: 0,
      longest: 0,
    }
    this.reports[name] = report
    const { packing, max_length } = { ...this.config.data, ...this.coder.options }
    this.hash.update(name)
    const examples = this.encode(records, report)
    const rows = packing ? packed(examples, max_length) : examples
    const spool = await Spool.fill(this.config.output, counted(rows, report), (e) => this.coder.load(e))
    this.spools.push(spool)
    if (spool.length === 0)
      throw new GraftError(
        'NO_SUPERVISED_TOKENS',
        `${this.config.data[name] ?? name}: none of the ${report.examples} examples has a token to learn from. ${whyLeft(report)} ${report.truncated > 0 ? `Raise data.max_length (it is max_length ${max_length}), or look` : 'Look'} at the data with graft preview.`,
      )
    return spool
  }

  private async *encode(records: AsyncIterable<DataRecord>, report: EncodeReport): AsyncGenerator<Example> {
    this.coder.truncated = 0
    this.coder.left = report.left
    const present = new Set<string>()
    const read = new Set<string>()
    for await (const record of records) {
      for (const column of Object.keys(record.fields)) present.add(column)
      const seen = { ...record, read }
      const encoded = guarded(this.objective, () => this.objective.encode(seen, this.coder))
      const example = { ...encoded, ...this.coder.task(seen) }
      checkVocabulary(this.coder.model, example)
      const supervised = supervisedRows(example)
      report.examples++
      report.truncated = this.coder.truncated
      report.tokens += example.ids.length
      report.supervised += supervised
      if (isEmpty(example)) this.coder.leave('examples without a token')
      else if (supervised === 0) {
        report.unsupervised++
        this.coder.leave('examples without a token to learn from')
      } else {
        this.hash.update(identity(example))
        yield example
      }
    }
    const unread = unreadColumns(present, read, this.objective.fields)
    if (unread) this.notice(unread)
  }

  /** What a checkpoint's numbers depend on. A model of gigabytes takes seconds to look through, the first time. */
  get fingerprint(): string {
    this.seen ??= this.hash.update(modelDigest(this.config.model)).digest('hex')
    return this.seen
  }
  close(): void {
    for (const spool of this.spools.splice(0)) spool.close()
    try {
      rmdirSync(this.config.output)
    } catch {
      // What isn't empty stays; a run that fails early leaves no folder behind.
    }
  }
}

async function* select(
  records: AsyncIterable<DataRecord>,
  wanted: (record: DataRecord) => boolean,
): AsyncGenerator<DataRecord> {
  for await (const record of records) if (wanted(record)) yield record
}
async function* counted(rows: AsyncIterable<Example>, report: EncodeReport): AsyncGenerator<Example> {
  for await (const row of rows) {
    report.rows++
    report.longest = Math.max(report.longest, row.ids.length, row.decoderIds?.length ?? 0)
    yield row
  }
}
const whyLeft = ({ left }: EncodeReport): string =>
  Object.entries(left).length > 0
    ? `Left out: ${Object.entries(left)
        .map(([reason, n]) => `${n} ${reason}`)
        .join('; ')}.`
    : 'Completions are empty.'
