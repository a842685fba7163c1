import { moduleKey } from '../method/keys.js'
import { transpose } from '../numbers/initialise.js'
import type { Model } from '../model/model.js'
import { belongsTo } from '../model/paths.js'
import type { EmbeddingSite, LinearSite } from '../model/site.js'
import { floatsOf, type StoredTensor } from '../files/safetensors.js'

/** Names of a module's own weight in an adapter's file: plain, or under what wraps the module. */
const spellings = ['weight', 'base_layer.weight', 'token_adapter.base_layer.weight']

/**
 * HF PEFT saves embedding and output layer whole where it was asked to (save_embedding_layers), and of itself when the vocabulary was
 * resized: they then stand in place of the base's. Returns the base with them, opened anew where the vocabulary has grown, and the tensors
 * that are left; those of modules trained in full (`saved`) are.
 */
export function keptParameters(
  base: Model,
  tensors: ReadonlyMap<string, StoredTensor>,
  open: (vocabulary: number) => Model,
  saved: readonly string[],
): { model: Model; stored: Map<string, StoredTensor> } {
  const stored = new Map(tensors)
  const found = vocabularySites(base).flatMap((site) => {
    if (saved.some((name) => belongsTo(site.path, name))) return []
    const key = spellings.map((s) => moduleKey(`${site.path}.${s}`)).find((k) => stored.has(k))
    return key ? [{ path: site.path, key, tensor: stored.get(key) as StoredTensor }] : []
  })
  if (found.length === 0) return { model: base, stored }
  const rows = Math.max(...found.map(({ tensor }) => tensor.shape[0]))
  const grown = base.task !== undefined && rows > Math.max(...vocabularySites(base).map(rowsOf))
  const model = grown ? open(rows) : base
  const sites = vocabularySites(model)
  const tied = new Set(sites.map((s) => s.weight.constant?.data)).size < sites.length
  for (const { path, key, tensor } of found) {
    const own = sites.filter((s) => s.path === path || (tied && found.length === 1))
    if (own.some((s) => `${s.weight.shape}` !== `${tensor.shape}`)) continue
    stored.delete(key)
    for (const site of own) replace(site, floatsOf(tensor, key))
  }
  return { model, stored }
}
type VocabularySite = EmbeddingSite | LinearSite
const vocabularySites = (model: Model): VocabularySite[] => [
  ...model.embeddings,
  ...(model.outputEmbedding ? [model.outputEmbedding] : []),
]
const rowsOf = (site: VocabularySite): number => site.weight.shape[0]

/** Sets a weight; one that the base holds already stays in its file. */
function replace({ weight }: VocabularySite, values: Float32Array): void {
  const [rows, columns] = weight.shape
  const stored = weight.transposed ? transpose(values, rows, columns) : values
  const own = weight.reader()()
  if (own && own.length === stored.length && own.every((v, i) => v === stored[i])) return
  weight.set(stored)
}
