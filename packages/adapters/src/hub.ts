import { join } from 'node:path'
import {
  GraftError,
  type Model,
  moduleKey,
  readAdapterConfig,
  readObject,
  readTensors,
  saveAdapter,
  type StoredTensor,
  writeAtomically,
  writeTensors,
} from '@graft-peft/core'
import { type Joint, joints } from './joints.js'
import { refused, schema } from './options.js'

const weights = 'adapter.safetensors'
const shared = 'shared_parameters'

/**
 * Writes an adapter folder of ours from one of AdapterHub's bottleneck adapters (`adapter_config.json` and `adapter.safetensors`).
 *
 * @throws UNSUPPORTED_ADAPTER for another kind of adapter, or one with options that aren't built; ADAPTER_MISMATCH for tensors that
 * belong nowhere in this model; what reading the files throws.
 */
export function fromAdapterHub(folder: string, output: string, model: Model): void {
  const { config, name } = readObject(join(folder, 'adapter_config.json'), 'BAD_ADAPTER')
  const options = optionsOf(folder, config)
  const all = joints(model)
  const tensors = new Map<string, StoredTensor>()
  for (const [key, tensor] of readTensors(folder, weights)) {
    const own = ownName(key, `${name}`, all, options.ln_before === true)
    if (own === undefined)
      throw new GraftError(
        'ADAPTER_MISMATCH',
        `${join(folder, weights)}: ${key} belongs to no place of ${model.file}. Is it an adapter of another base model?`,
      )
    tensors.set(moduleKey(own), tensor)
  }
  saveAdapter(output, tensors, { ...options, peft_type: 'BOTTLENECK', base_model_name_or_path: model.folder })
}

/**
 * Writes what AdapterHub's `load_adapter` reads, from an adapter folder of ours. `name` is what the adapter is called there.
 *
 * @throws UNSUPPORTED_ADAPTER for another method's; what reading the files throws.
 */
export function toAdapterHub(folder: string, output: string, model: Model, name: string): void {
  const config = readAdapterConfig(folder)
  if (config.peft_type !== 'BOTTLENECK')
    throw unsupported(folder, `it is ${config.peft_type}, and AdapterHub's file is for bottleneck adapters`)
  const all = joints(model)
  const tensors = [...readTensors(folder)].flatMap(([key, tensor]) =>
    hubNames(key.slice(moduleKey('').length), name, all, config.ln_before === true).map(
      (hub): [string, StoredTensor] => [hub, tensor],
    ),
  )
  const known = Object.keys(schema.properties).filter((key) => key in config && key !== 'modules_to_save')
  const { hidden_size, model_type, architectures } = model.config
  const described = {
    config: Object.fromEntries(known.map((key) => [key, config[key]])),
    hidden_size,
    model_class: [architectures].flat()[0],
    model_name: model.folder,
    model_type,
    name,
  }
  writeTensors(output, new Map(tensors), weights)
  writeAtomically(join(output, 'adapter_config.json'), `${JSON.stringify(described, null, 2)}\n`)
}

const unsupported = (folder: string, why: string) =>
  new GraftError('UNSUPPORTED_ADAPTER', `${folder}: ${why}.`)

/** What says how an adapter started, and so nothing of one that is trained. */
const startOnly = ['hypercomplex_nonlinearity', 'init_weights_seed']
function optionsOf(folder: string, config: unknown): Record<string, unknown> {
  const given = (config ?? {}) as Record<string, unknown>
  if (given.architecture) throw unsupported(folder, `it is ${given.architecture}, no bottleneck adapter`)
  const on = Object.keys(refused).find((key) => given[key] && !startOnly.includes(key))
  if (on)
    throw unsupported(folder, `${on} is ${JSON.stringify(given[on])}: ${refused[on as keyof typeof refused]}`)
  return Object.fromEntries(Object.entries(given).filter(([key]) => key in schema.properties))
}

/** Under which module AdapterHub keeps what stands at a joint: BERT and its kin in the module itself, others in the layer's list. */
function hubModule({ path, prefix, part }: Joint): string {
  if (path.endsWith('.output.dense')) return path.slice(0, -'.dense'.length)
  return `${prefix}.${part === 'output' ? 'output' : 'attention'}_adapters`
}

/** A joint's tensors as they are called there: those of a sequence by their place in it, behind a norm of its own. */
function hubNames(own: string, name: string, all: readonly Joint[], normed: boolean): string[] {
  const joint = all.find(({ path }) => own.startsWith(`${path}.`))
  if (own.startsWith(`${shared}.`))
    return [`${all[0].path.split('.')[0]}.${shared}.${name}.${own.slice(shared.length + 1)}`]
  if (!joint) return [own]
  const tail = own.slice(joint.path.length + 1)
  const at = (rest: string) => `${hubModule(joint)}.adapters.${name}.${rest}`
  const norm = tail.match(/^adapter_norm_before\.(.*)$/)?.[1]
  if (norm) return [at(tail), at(`adapter_down.0.${norm}`)]
  return [
    at(
      tail
        .replace(/^adapter_down\./, `adapter_down.${normed ? 1 : 0}.`)
        .replace(/^adapter_scaling$/, 'scaling'),
    ),
  ]
}

function ownName(key: string, name: string, all: readonly Joint[], normed: boolean): string | undefined {
  const common = key.split(`${shared}.${name}.`)[1]
  if (common !== undefined) return `${shared}.${common}`
  const [module, rest] = key.split(`.adapters.${name}.`)
  const joint = all.find((j) => hubModule(j) === module)
  if (!joint || rest === undefined) return undefined
  const tail = rest
    .replace(normed ? /^adapter_down\.0\./ : /^$/, 'adapter_norm_before.')
    .replace(/^adapter_down\.\d+\./, 'adapter_down.')
    .replace(/^scaling$/, 'adapter_scaling')
  return `${joint.path}.${tail}`
}
