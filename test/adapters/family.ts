import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Coder, type LinearSite, type Model, type Objective, Random, type Task } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import { readCase, writeModel } from '../architectures/case.js'
import { root, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'

/** A tiny model of a kind, with what it is trained for and what it is asked. */
export interface Family {
  /** its model_type */
  kind: string
  /** the model's folder */
  folder: string
  model: Model
  objective: Objective
  labels: string[]
  targets: string | string[]
  /** two records without answers, of unequal length */
  records: Record<string, unknown>[]
  /** whether the layers in question have biases */
  hasBiases: boolean
  /** adapters of LoRA, for methods that mix some */
  experts: Record<string, string>
  coder(tasks: number): Coder
}

const objectives: Partial<Record<Task, string>> = {
  'causal-lm': 'causal-lm',
  'sequence-to-sequence': 'sequence-to-sequence',
  'sequence-classification': 'sequence-classification',
  'image-classification': 'image-classification',
}

const targeted = ({ linears }: Model, targets: string | string[]): LinearSite[] =>
  linears.filter(({ path }) =>
    typeof targets === 'string'
      ? new RegExp(`^(${targets})$`).test(path)
      : targets.some((t) => path === t || path.endsWith(`.${t}`)),
  )

/** Opens one of the models that test/golden/models holds, with a tokenizer whose words are w0, w1, … */
export function openFamily(name: string): Family {
  const given = readCase(join(root, 'test/golden/models', `${name}.json`))
  // A text goes on as long as it is asked to, and what is written changes nothing before it.
  delete given.config.eos_token_id
  delete given.config.use_bidirectional_attention
  const folder = writeModel(given, join(temporaryFolder(), name))
  writeFileSync(join(folder, 'config.json'), withFractions(readFileSync(join(folder, 'config.json'), 'utf8')))
  const objective = registry.get('objective', objectives[given.task] ?? 'features')
  const labels = objective.classifies ? ['red', 'green', 'blue'] : []
  const targets = given.type === 'bert' ? ['query', 'value', 'intermediate.dense'] : given.targets
  const words = Number(given.config.vocab_size ?? 0)
  if (words > 0) writeTokenizer(folder, words)
  const model = openModel(folder, {
    architectures: registry.all('architecture'),
    task: given.task,
    labels: Math.max(1, labels.length),
  })
  return {
    kind: given.type,
    folder,
    model,
    objective,
    labels,
    targets,
    hasBiases: targeted(model, targets).every((site) => site.bias),
    experts: {},
    records: words > 0 ? texts : images(model),
    coder: (tasks) =>
      new Coder(model, labels, { columns: {}, max_length: 32, train_on_prompt: false, tasks }),
  }
}

const texts = [{ text: 'w5 w9 w3 w17 w8 w12 w20' }, { text: 'w7 w4 w11 w6' }]

/** Numbers as an image's pixels are after preprocessing. */
function images({ graph }: Model): Record<string, unknown>[] {
  const shape = graph.inputs.find((v) => v.name === 'pixel_values')?.shape?.slice(1) as number[]
  const random = new Random(2, 'pixels')
  const image = () => Array.from({ length: shape.reduce((a, n) => a * n, 1) }, () => random.normal())
  return [{ pixel_values: image() }, { pixel_values: image() }]
}

function writeTokenizer(folder: string, count: number): void {
  const vocab = Object.fromEntries(Array.from({ length: count }, (_, id) => [`w${id}`, id]))
  const tokenizer = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab, unk_token: 'w3' },
  }
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', pad_token: 'w0' }),
  )
}

/** The token ids of a text of such words. */
export const idsOf = (text: string): number[] => (text.match(/\d+/g) ?? []).map(Number)

/** transformers wants a fraction where one belongs, which JSON.stringify leaves out. */
const withFractions = (json: string): string => json.replace(/("\w+_logit_softcapping":\d+)\b/g, '$1.0')

export const copyFamily = ({ folder }: Family, to: string): void => cpSync(folder, to, { recursive: true })
