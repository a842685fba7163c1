import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readModelConfig } from '../architecture/open.js'
import type { TrainConfig } from '../config/config.js'
import type { Registry } from '../container.js'
import { orderedLabels } from '../data/labels.js'
import { type Reader, readRecords } from '../data/readers.js'
import type { Notice } from '../data/records.js'
import { entryOf, GraftError, nearest, suggestion } from '../errors.js'
import type { Objective } from '../objective/objective.js'

/** What a first reading of the training data tells. */
export interface Survey {
  objective: Objective
  /** why it is that objective */
  reason: string
  /** label names, a class's number being its place */
  labels: string[]
  /** records of the training file, by class where each has one */
  sizes: ReadonlyMap<string, number>
}

/** Columns and, once the objective is known, labels. */
interface Found {
  columns: Set<string>
  count: number
}

/** Reads the training data once for its columns, and where the objective classifies once more for its labels.
 *  Throws UNKNOWN_COLUMN, NEAR_COLUMN, UNKNOWN_LABEL, and what reading throws. */
export async function surveyData(config: TrainConfig, registry: Registry, notice: Notice): Promise<Survey> {
  const { train, columns, labels: given } = config.data
  const found = await columnsOf(train, notice, registry.all('reader'))
  const tasks = (config.method.tasks?.(config.methodOptions) ?? 1) > 1 ? ['task'] : []
  const reads = (o: Objective): Objective => (o.fields ? { ...o, fields: [...o.fields, ...tasks] } : o)
  const objectives = registry.all('objective').map(reads)
  checkColumns(config, found.columns, objectives)
  const fields = objectives
    .filter((o) => o.name === (config.objective ?? o.name))
    .flatMap((o) => o.fields ?? [])
  checkNearNames(fields, columns, found.columns)
  const { objective, reason } = chooseObjective(config, registry, found.columns)
  checkMapped(reads(objective), columns)
  if (!objective.classifies) return { objective, reason, labels: [], sizes: new Map([['', found.count]]) }
  const counts = await labelCounts(config, objective, registry.all('reader'))
  const stored = storedLabels(config.model, objective)
  const labels = orderedLabels({ found: new Set(counts.keys()), given, stored }, notice)
  const sizes = objective.answers === 'example' ? counts : new Map([['', found.count]])
  return { objective, reason, labels, sizes }
}

/** Columns that hold something in any record. */
async function columnsOf(file: string, notice: Notice, known: readonly Reader[]): Promise<Found> {
  const columns = new Set<string>()
  let count = 0
  for await (const { fields } of readRecords(file, notice, known)) {
    for (const [name, value] of Object.entries(fields))
      if (value !== null && value !== undefined) columns.add(name)
    count++
  }
  return { columns, count }
}
async function labelCounts(
  { data }: TrainConfig,
  objective: Objective,
  known: readonly Reader[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for await (const record of readRecords(data.train, undefined, known))
    for (const name of objective.labelsOf(record, data.columns)) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** A mapping names a field that some objective reads, and a column that the file has. */
function checkColumns(
  { data: { columns, train } }: TrainConfig,
  present: ReadonlySet<string>,
  objectives: readonly Objective[],
): void {
  const known = objectives.every((o) => o.fields)
    ? new Set(objectives.flatMap((o) => [...(o.fields ?? [])]))
    : undefined
  for (const [name, column] of Object.entries(columns)) {
    if (known && !known.has(name))
      throw new GraftError(
        'UNKNOWN_COLUMN',
        `data.columns.${name}: no objective reads a field ${name}. ${suggestion(name, [...known])} The mapping goes from Graft's name to the file's, as in columns: { label: ${column} }.`,
      )
    if (!present.has(column))
      throw new GraftError(
        'UNKNOWN_COLUMN',
        `data.columns.${name}: ${train} has no column ${column} (or nothing in it). ${suggestion(column, [...present])}`,
      )
  }
}

/** The objective that the config names, or the one that the data's columns call for. */
function chooseObjective(
  { objective, data: { columns } }: TrainConfig,
  registry: Registry,
  present: ReadonlySet<string>,
): Pick<Survey, 'objective' | 'reason'> {
  if (objective) return { objective: registry.get('objective', objective), reason: 'as the config says' }
  const has = (...names: string[]) => names.every((name) => present.has(columns[name] ?? name))
  const [name, fields] =
    has('label', 'image') ? ['image-classification', ['image', 'label']]
    : has('label', 'pixel_values') ? ['image-classification', ['pixel_values', 'label']]
    : has('tokens', 'labels') ? ['token-classification', ['tokens', 'labels']]
    : has('anchor', 'positive') ? ['sentence-embedding', ['anchor', 'positive']]
    : has('label') ? ['sequence-classification', ['label']]
    : ['causal-lm', ['messages', 'conversations', 'instruction', 'prompt', 'text'].filter((f) => has(f)).slice(0, 1)] // biome-ignore format: a table
  const columnsRead = fields.map((f) => columns[f] ?? f)
  const reason = columnsRead.length > 0 ? `from the data's columns: ${columnsRead.join(', ')}` : 'the default'
  return { objective: registry.get('objective', name as string), reason }
}

/** Columns whose names are nearly those of fields, but for capitals and blanks, were meant to be read. */
function checkNearNames(
  fields: readonly string[],
  columns: Readonly<Record<string, string>>,
  present: ReadonlySet<string>,
): void {
  const mapped = new Set(Object.values(columns))
  for (const column of present) {
    const field = column.trim().toLowerCase()
    if (field === column || !fields.includes(field) || mapped.has(column)) continue
    if (present.has(columns[field] ?? field)) continue
    throw new GraftError(
      'NEAR_COLUMN',
      `The data has a column ${JSON.stringify(column)}, which is nearly ${field}, a field that is read. Rename it, or map it: data.columns: { ${field}: ${JSON.stringify(column)} }.`,
    )
  }
}

/** Every field that is mapped is one that the objective reads. */
function checkMapped({ name, fields }: Objective, columns: Readonly<Record<string, string>>): void {
  const needless = fields && Object.keys(columns).find((field) => !fields.includes(field))
  if (needless)
    throw new GraftError(
      'UNKNOWN_COLUMN',
      `data.columns.${needless}: objective ${name} reads no ${needless}; it reads ${fields.join(', ')}. Name another objective, or leave the mapping out.`,
    )
}

/** Names of the classes of a checkpoint's own head, where it is for this objective. */
function storedLabels(folder: string, { task }: Objective): string[] | undefined {
  if (!existsSync(join(folder, 'config.json'))) return undefined
  const config = readModelConfig(folder)
  const head = `For${task.replace(/(^|-)(\w)/g, (_, __, c: string) => c.toUpperCase())}`
  const names = config.id2label
  if (!String([config.architectures].flat()[0] ?? '').endsWith(head)) return undefined
  if (typeof names !== 'object' || names === null) return undefined
  return Object.entries(names as Record<string, unknown>)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, name]) => String(name))
}

/** What columns that nobody read might have been meant for, for a word to the user. */
export function unreadColumns(
  present: ReadonlySet<string>,
  read: ReadonlySet<string>,
  fields: readonly string[] = [],
): string | undefined {
  const unread = [...present].filter((c) => !read.has(c))
  if (unread.length === 0) return undefined
  const near = unread.map((c) => [c, entryOf(synonyms, c.toLowerCase()) ?? nearest(c, fields)] as const)
  const [column, field] = near.find(([, f]) => f) ?? []
  const hint = field ? ` If ${column} is the ${field}, map it: data.columns: { ${field}: ${column} }.` : ''
  return `Not read of the data: ${unread.slice(0, 12).join(', ')}${unread.length > 12 ? ' …' : ''}.${hint}`
}

/** What other people call our fields. */
const synonyms: Readonly<Record<string, string>> = {
  category: 'label',
  class: 'label',
  intent: 'label',
  sentiment: 'label',
  target: 'label',
  score: 'label',
  ner_tags: 'labels',
  tags: 'labels',
  words: 'tokens',
  question: 'prompt',
  query: 'prompt',
  answer: 'completion',
  response: 'completion',
  sentence: 'text',
  content: 'text',
  sentence2: 'text_pair',
  hypothesis: 'text_pair',
}
