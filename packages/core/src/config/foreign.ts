import { stringify } from 'yaml'
import { GraftError } from '../errors.js'
import { isObject, shown } from '../files/json.js'
import type { ConfigSource } from './source.js'

/** Keys of a config here, dotted, with their values. */
type Settings = Record<string, unknown>
/** What a key of another tool becomes: a key here with the same value, what its value says, or a word on why it becomes nothing. */
type Rule = string | ((value: never) => Settings | string)
interface Tool {
  name: string
  /** keys that no other tool has together */
  telling: readonly string[]
  rules: Readonly<Record<string, Rule>>
}

const word = (text: string) => (value: unknown) => (value ? text : {})
const where =
  (settings: Settings) =>
  (value: unknown): Settings | string =>
    value === true ? settings : value ? 'true or false' : {}
const number =
  (key: string, rounded = (value: number) => value) =>
  (value: unknown): Settings | string =>
    Number.isFinite(Number(value)) ? { [key]: rounded(Number(value)) } : 'not a number'
const optimizer = (name: string) =>
  /adamw/.test(name) ? { 'training.optimizer': 'adamw' }
  : name === 'sgd' ? { 'training.optimizer': name }
  : 'optimisers here are adamw, sgd, and those of plugins' // biome-ignore format: a table
const schedule = (name: string) =>
  ['cosine', 'linear', 'constant'].includes(name) ?
    { 'training.schedule': name }
  : 'schedules here are constant, linear, cosine, and those of plugins' // biome-ignore format: a table
const share = (value: number) =>
  value < 1
    ? { 'data.validation': value }
    : 'held out is a share (data.validation: 0.1), or a file of its own'
/** One file, of what may be several, each a name or a path with options beside it. */
const files = (key: string) => (value: string | readonly { path?: string; data_files?: unknown }[]) => {
  const all = typeof value === 'string' ? value.split(',') : value.flatMap((v) => v.data_files ?? v.path)
  return all.length === 1 ? { [key]: all[0] } : 'a config here takes one file: join them'
}
const modules = (value: string | readonly string[]) => {
  const names = typeof value === 'string' ? value.split(',').map((n) => n.trim()) : value
  return { 'method.target_modules': ['all', 'all-linear'].includes(names[0]) ? 'all-linear' : names }
}
const bits = (value: number) => (Number(value) === 4 ? { quantize: 'int4' } : eightBits)
const eightBits = 'a frozen base is kept as it is or in 4 bits; precision: int8 computes with it in 8'
const halves = word('precision: bfloat16 and float16 are for GPUs; without, products are float32')
const steps = word('training.warmup_steps is a number of steps, not a share of them')
const checkpointing = word('the backward pass keeps what memory: balanced decides; memory: low keeps least')

/** Options that mean the same to both tools, by the name that both or one of them give. */
const common: Tool['rules'] = {
  lora_alpha: 'method.lora_alpha',
  lora_dropout: 'method.lora_dropout',
  learning_rate: number('training.learning_rate'),
  loraplus_lr_ratio: 'method.loraplus_lr_ratio',
  gradient_accumulation_steps: 'training.gradient_accumulation',
  max_steps: (value: number) => (value > 0 ? { 'training.max_steps': value } : {}),
  warmup_steps: 'training.warmup_steps',
  warmup_ratio: steps,
  weight_decay: 'training.weight_decay',
  adam_epsilon: 'training.epsilon',
  max_grad_norm: 'training.max_grad_norm',
  eval_steps: (value: number) =>
    value >= 1 ? { 'training.eval_every': value } : 'training.eval_every is a number of steps',
  save_steps: (value: number) =>
    value >= 1 ? { 'training.save_every': value } : 'training.save_every is a number of steps',
  output_dir: 'output',
  seed: 'seed',
  bf16: halves,
  fp16: halves,
  tf32: halves,
  gradient_checkpointing: checkpointing,
}

const axolotl: Tool = {
  name: 'Axolotl',
  telling: ['base_model', 'datasets'],
  rules: {
    base_model: 'model',
    adapter: (name: string) => ({
      'method.name': name === 'qlora' ? 'lora' : (name ?? 'full'),
      ...(name === 'qlora' ? { quantize: 'int4' } : {}),
    }),
    lora_model_dir: word('adapter: FOLDER goes on from an adapter, and stands instead of method'),
    lora_r: 'method.r',
    lora_target_modules: modules,
    lora_target_linear: where({ 'method.target_modules': 'all-linear' }),
    lora_modules_to_save: 'method.modules_to_save',
    peft_use_dora: where({ 'method.use_dora': true }),
    peft_use_rslora: where({ 'method.use_rslora': true }),
    load_in_4bit: where({ quantize: 'int4' }),
    load_in_8bit: (value: unknown) => (value ? eightBits : {}),
    datasets: files('data.train'),
    test_datasets: files('data.validation'),
    val_set_size: share,
    sequence_len: 'data.max_length',
    sample_packing: 'data.packing',
    train_on_inputs: 'data.train_on_prompt',
    tokens: 'tokens',
    micro_batch_size: 'training.batch_size',
    num_epochs: 'training.epochs',
    lr_scheduler: schedule,
    optimizer,
    early_stopping_patience: 'training.early_stopping',
    ...common,
  },
}
const factory: Tool = {
  name: 'LLaMA-Factory',
  telling: ['model_name_or_path', 'finetuning_type'],
  rules: {
    model_name_or_path: 'model',
    finetuning_type: (name: string) =>
      ['lora', 'full', 'oft'].includes(name) ? { 'method.name': name } : 'graft methods lists those here',
    adapter_name_or_path: word('adapter: FOLDER goes on from an adapter, and stands instead of method'),
    stage: (name: string) => (name === 'sft' ? {} : 'learnt are records, as data and objective say'),
    do_train: (value: boolean) => (value ? {} : 'graft train always trains'),
    lora_rank: 'method.r',
    lora_target: modules,
    additional_target: (value: string) => ({ 'method.modules_to_save': value.split(',') }),
    use_dora: 'method.use_dora',
    use_rslora: 'method.use_rslora',
    quantization_bit: bits,
    dataset: files('data.train'),
    eval_dataset: files('data.validation'),
    val_size: share,
    cutoff_len: 'data.max_length',
    packing: 'data.packing',
    train_on_prompt: 'data.train_on_prompt',
    per_device_train_batch_size: 'training.batch_size',
    num_train_epochs: number('training.epochs', Math.ceil),
    lr_scheduler_type: schedule,
    optim: optimizer,
    ...common,
  },
}

/**
 * Says of a config that was written for another tool what it comes to here.
 *
 * @throws OTHER_TOOL, with the converted config and every key that has no counterpart.
 */
export function refuseForeign(source: ConfigSource, contents: unknown): void {
  if (!isObject(contents)) return
  const tool = [axolotl, factory].find((t) => t.telling.every((key) => key in contents))
  if (!tool) return
  const { settings, left } = converted(tool, contents)
  const words = left.map((text) => `  ${text}`).join('\n')
  throw new GraftError(
    'OTHER_TOOL',
    `${source.path} is a config of ${tool.name}. For Graft it comes to this, in a file of its own:\n\n${stringify(nested(settings))}${left.length > 0 ? `\nHas no counterpart in it:\n${words}\n` : ''}\nPaths are relative to the config. data.train is a file or a folder (docs/data.md); docs/config.md has all keys.`,
  )
}

function converted(tool: Tool, contents: Record<string, unknown>): { settings: Settings; left: string[] } {
  const [settings, left]: [Settings, string[]] = [{ 'data.validation': 0 }, []]
  const names = Object.keys(tool.rules).filter((key) => key in contents)
  for (const key of [...names, ...Object.keys(contents).filter((key) => !names.includes(key))]) {
    const value = contents[key]
    if (value === null) continue
    const rule = names.includes(key) ? tool.rules[key] : unknown
    const result = typeof rule === 'string' ? { [rule]: value } : asked(rule, value)
    if (typeof result === 'string') left.push(`${key}: ${shown(value)} (${result})`)
    else Object.assign(settings, result)
  }
  const { 'method.name': name = 'full', 'data.train': train = 'FILE' } = settings
  const own = Object.keys(settings).filter((key) => name === 'full' && /^method\.(?!name)/.test(key))
  for (const key of own) {
    left.push(`${key}: ${shown(settings[key])} (full fine-tuning has no such option)`)
    delete settings[key]
  }
  return { settings: { ...settings, 'method.name': name, 'data.train': train }, left }
}

const unknown = (): string => 'nothing here'

/** A rule is written for the values that its tool takes; any other is named as it stands. */
function asked(rule: (value: never) => Settings | string, value: unknown): Settings | string {
  try {
    return rule(value as never)
  } catch {
    return 'not a value that it takes'
  }
}

/** Dotted keys as objects in each other, the model first. */
function nested(settings: Settings): Settings {
  const order = ['model', 'data', 'method', 'training']
  const made: Settings = Object.fromEntries(order.map((key) => [key, {}]))
  for (const [dotted, value] of Object.entries(settings)) {
    const [key, inner] = dotted.split('.')
    if (inner) (made[key] as Settings)[inner] = value
    else made[key] = value
  }
  return Object.fromEntries(Object.entries(made).filter(([, v]) => !isObject(v) || Object.keys(v).length > 0))
}
