import { addDims, type ArchitectureContext, type Builder, type Value } from '@graft-peft/core'
import { Cache, type Heads } from './attention.js'
import type { TextInputs } from './inputs.js'
import { paddingBias } from './masks.js'

/** What an encoder reads, and what of it a decoder sees. */
export interface Source {
  inputs: TextInputs
  /** added to a decoder's scores of the source: [batch, 1, 1, source] */
  seen: Value
}

/**
 * A text to read. In generation it is read once: later steps give no tokens, and the mask of the whole text beside the keys and values
 * that were made of it.
 */
export function sourceInputs({ g, cache }: ArchitectureContext): Source {
  const ids = g.graph.addInput('input_ids', 'int64', ['batch', 'sequence'])
  const known = cache ? addDims('past_source', 'sequence') : 'sequence'
  const mask = g.graph.addInput('attention_mask', 'int64', ['batch', known])
  const sequence = length(g, ids)
  const all = length(g, mask)
  const own = cache ? g.op('Slice', [mask, g.sub(all, sequence), all, g.ints([1])]) : mask
  const positions = g.unsqueeze(g.range(g.squeeze(sequence, [0])), [0])
  return { inputs: { ids, mask: own, positions, sequence, total: sequence }, seen: paddingBias(g, mask) }
}

/** A text to write; its positions are [1, sequence]. */
export function targetInputs({ g, cache }: ArchitectureContext): TextInputs {
  const ids = g.graph.addInput('decoder_input_ids', 'int64', ['batch', 'decoder_sequence'])
  const known = addDims('past_sequence', 'decoder_sequence')
  const mask = cache
    ? g.graph.addInput('decoder_attention_mask', 'int64', ['batch', known])
    : g.add(g.mul(ids, g.int(0)), g.int(1))
  const [sequence, total] = [length(g, ids), length(g, mask)]
  const all = g.range(g.squeeze(total, [0]))
  const own = cache ? g.op('Slice', [all, g.sub(total, sequence), total, g.ints([0])]) : all
  return { ids, mask, positions: g.unsqueeze(own, [0]), sequence, total }
}
const length = (g: Builder, v: Value): Value => g.op('Shape', [v], { start: 1, end: 2 })

/** Keys and values of what a decoder has written, and of what it reads: made once, then handed on. */
export class DecoderCache {
  private readonly own: Cache
  private readonly source: Cache
  constructor(c: Pick<ArchitectureContext, 'g' | 'cache'>) {
    this.own = new Cache(c, 'decoder.')
    this.source = new Cache(c, 'encoder.', 'past_source')
  }
  extend = (layer: number, heads: Pick<Heads, 'key' | 'value'>) => this.own.extend(layer, heads)
  read = (layer: number, heads: Pick<Heads, 'key' | 'value'>) => this.source.extend(layer, heads)
  get outputs(): Record<string, Value> {
    return { ...this.own.outputs, ...this.source.outputs }
  }
}
