import { moduleKey } from '../method/keys.js'
import { transpose } from '../numbers/initialise.js'
import type { Model } from '../model/model.js'
import { type NamedSlot, parametersIn } from './fold.js'
import { floatsOf, type StoredTensor } from '../files/safetensors.js'

/** Where an adapter's file has a module's own parameter: plainly, or under what wraps the module. */
const wrappers = ['', 'base_layer.', 'token_adapter.base_layer.']

/**
 * HF PEFT saves embedding and output layer whole where it was asked to (save_embedding_layers), and of itself when the vocabulary was
 * resized: they then stand in place of the base's. Returns the base with them, opened anew where the vocabulary has grown, and the tensors
 * that are left: those that the adapter itself declares (`declared`, by key) are its own. `replaced`: whether anything of the base was.
 */
export function keptParameters(
  base: Model,
  tensors: ReadonlyMap<string, StoredTensor>,
  open: (vocabulary: number) => Model,
  declared: (model: Model) => ReadonlySet<string>,
): { model: Model; stored: Map<string, StoredTensor>; replaced: boolean } {
  const stored = new Map(tensors)
  const keyOf = ({ name, site }: NamedSlot) => {
    const parameter = name.slice(site.path.length + 1)
    return wrappers.map((w) => moduleKey(`${site.path}.${w}${parameter}`)).find((key) => tensors.has(key))
  }
  const keys = vocabularySlots(base).flatMap((s) => keyOf(s) ?? [])
  if (keys.length === 0) return { model: base, stored, replaced: false }
  const rows = Math.max(...keys.map((key) => (tensors.get(key) as StoredTensor).shape[0]))
  const grown = base.task !== undefined && rows > Math.max(...base.embeddings.map((e) => e.rows))
  const model = grown ? open(rows) : base
  const trained = declared(model)
  const slots = vocabularySlots(model).filter((s) => !trained.has(keyOf(s) ?? ''))
  for (const users of grouped(slots, (s) => s.slot.constant?.data)) {
    const own = users.flatMap((s) => keyOf(s) ?? [])
    if (own.some((key) => `${tensors.get(key)?.shape}` !== `${users[0].slot.shape}`)) continue
    for (const key of own) stored.delete(key)
    // A tied table is saved once, under the name of either of its users.
    if (own.length > 0) replaceAll(users, (s) => tensors.get(keyOf(s) ?? own[0]) as StoredTensor)
  }
  return { model, stored, replaced: stored.size < tensors.size }
}

/** Parameters of embeddings and of the output layer. */
function vocabularySlots(model: Model): NamedSlot[] {
  const head = model.outputEmbedding?.path
  return parametersIn(model).filter(({ site }) => site.kind === 'embedding' || site.path === head)
}
function grouped<T>(items: readonly T[], by: (item: T) => unknown): T[][] {
  const groups = new Map<unknown, T[]>()
  for (const item of items) groups.set(by(item), [...(groups.get(by(item)) ?? []), item])
  return [...groups.values()]
}

/** Sets the parameters of modules that share one: those that get the same go on sharing it. */
function replaceAll(users: readonly NamedSlot[], tensorOf: (user: NamedSlot) => StoredTensor): void {
  const [first] = users
  const shared = valuesOf(first, tensorOf(first))
  for (const user of users) {
    const same = Buffer.compare(tensorOf(user).data, tensorOf(first).data) === 0
    replace(user, same ? shared : valuesOf(user, tensorOf(user)))
  }
}
/** A tensor as a slot's file holds it. */
function valuesOf({ name, slot }: NamedSlot, tensor: StoredTensor): Float32Array {
  const values = floatsOf(tensor, name)
  return slot.transposed ? transpose(values, slot.shape[0], slot.shape[1]) : values
}
/** Sets a parameter; one that the base holds already stays in its file. */
function replace({ slot }: NamedSlot, stored: Float32Array): void {
  const own = slot.reader()()
  if (own && own.length === stored.length && own.every((v, i) => v === stored[i])) return
  slot.set(stored)
}
