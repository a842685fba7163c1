import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Model } from '@graft-peft/core'
import { openModel, type OpenOptions } from '@graft-peft/core/app'
import { runOnce } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'
import { type Case, feedsOf, readCase, writeModel } from './case.js'
import { published } from './published.js'

const architectures = registry.all('architecture')
const tiny = (name: string): Case => readCase(join(root, `test/golden/models/${name}.json`))
const open = (given: Case, options: OpenOptions = {}): Model =>
  openModel(writeModel(given, temporaryFolder()), { architectures, task: given.task, ...options })
const logitsOf = async (model: Model, given: Case): Promise<Float32Array> => {
  const names = model.graph.inputs.map((v) => v.name)
  return (await runOnce(model.graph, feedsOf(given, names))).logits.data as Float32Array
}

describe('every key of a config.json counts', () => {
  it.each(Object.entries(published))('%s says nothing that is not understood', (_, config) => {
    const at = temporaryFolder()
    writeFileSync(join(at, 'config.json'), JSON.stringify(config))
    expect(openModel(at, { architectures, weightless: true }).notices).toEqual([])
  })
  it.each([
    ['bert-0', { is_decoder: true }, /doesn't read is_decoder: true/],
    [
      'bert-0',
      { position_embedding_type: 'relative_key' },
      /doesn't read position_embedding_type: "relative_key"/,
    ],
    [
      'llama-0',
      { residual_multiplier: 0.2 },
      /the llama architecture doesn't read residual_multiplier: 0\.2/,
    ],
    ['gpt2-0', { add_cross_attention: true }, /doesn't read add_cross_attention: true/],
    ['mistral-0', { rope_interleave: true }, /doesn't read rope_interleave: true/],
    ['t5-0', { d_ffn: 9 }, /doesn't read d_ffn: 9 \(did you mean d_ff\?\)/],
    ['vit-0', { use_mask_token: true }, /doesn't read use_mask_token: true/],
    ['clip-0', { vision_config: { hidden_sizes: [1] } }, /doesn't read vision_config\.hidden_sizes/],
  ] as const)('%s with %o is refused', (name, changes, message) => {
    const given = tiny(name)
    const nested =
      'vision_config' in changes
        ? { vision_config: { ...(given.config.vision_config as object), ...changes.vision_config } }
        : changes
    expect(() => open({ ...given, config: { ...given.config, ...nested } })).toThrow(message)
  })
})

describe('a value that no model has is refused by its key', () => {
  it.each([
    ['llama-0', { hidden_act: 'valueOf' }, /hidden_act: no activation valueOf/],
    [
      'llama-0',
      { rope_parameters: { rope_type: 'toString', rope_theta: 1e4 }, partial_rotary_factor: 1 },
      /rope_type should be one of/,
    ],
    [
      'gpt_neox-0',
      { rope_parameters: { rope_type: 'default', rope_theta: 1e4, partial_rotary_factor: 2 ** 31 } },
      /partial_rotary_factor should be a share of a head, 0 to 1, got 2147483648/,
    ],
    ['mistral-0', { sliding_window: 3.5 }, /sliding_window should be a positive whole number, got 3\.5/],
  ])('%s with %o', (name, changes, message) => {
    const given = tiny(name)
    expect(() => open({ ...given, config: { ...given.config, ...changes } })).toThrow(message)
  })
})

describe('every tensor of a checkpoint counts', () => {
  it('buffers and heads of other tasks are named', () => {
    const given = tiny('llama-0')
    const buffer = {
      'model.layers.0.self_attn.rotary_emb.inv_freq': [4],
      'model.layers.1.self_attn.rotary_emb.inv_freq': [4],
    }
    const model = open({ ...given, tensors: { ...given.tensors, ...buffer, 'score.weight': [2, 16] } })
    expect(model.notices.join()).toMatch(
      /Not read from .*model\.safetensors for causal-lm: model\.layers\.N\.self_attn\.rotary_emb\.inv_freq \(2\), score\.weight\./,
    )
  })
  it('others are refused', () => {
    const given = tiny('llama-0')
    const more = { ...given.tensors, 'model.layers.0.mlp.router.weight': [4, 16] }
    expect(() => open({ ...given, tensors: more })).toThrow(/router\.weight has no place in the llama model/)
  })
  it('a head that is new is said to be, and one for other labels', () => {
    const given = tiny('llama-0')
    const classifier = open(given, { task: 'sequence-classification', labels: 5 })
    expect(classifier.notices.join()).toMatch(
      /New, not from the checkpoint, drawn by the seed: score\.weight \[5, 16\]\./,
    )
    const brought = ['base_model.model.score.weight']
    const adapted = open(given, { task: 'sequence-classification', labels: 5, brought })
    expect(adapted.notices.join()).not.toMatch(/New, not from/)
    const stored = { ...given, tensors: { ...given.tensors, 'score.weight': [3, 16] } }
    const other = open(stored, { task: 'sequence-classification', labels: 5 })
    expect(other.notices.join()).toMatch(/score\.weight \[5, 16\] \(the checkpoint's is \[3, 16\]\)/)
  })
  it('a head that is tied by config.json and stored all the same is the one that is used, unless it is equal', async () => {
    const given = tiny('llama-0')
    const { 'lm_head.weight': _, ...bare } = given.tensors
    const head = { ...bare, 'lm_head.weight': bare['model.embed_tokens.weight'] }
    const as = (tie_word_embeddings: boolean, tensors: Case['tensors']): Case => ({
      ...given,
      tensors,
      config: { ...given.config, tie_word_embeddings },
    })
    const logits = async (one: Case) => logitsOf(open(one), one)
    expect(await logits(as(true, head))).toEqual(await logits(as(false, head)))
    expect(await logits(as(true, head))).not.toEqual(await logits(as(true, bare)))
  })
})

describe('positions and padding', () => {
  it("RoBERTa's positions begin after the padding token", () => {
    const given = tiny('roberta-0')
    const pad = Number(given.config.pad_token_id)
    expect(open(given).positions).toBe(Number(given.config.max_position_embeddings) - pad - 1)
    expect(() => open({ ...given, config: { ...given.config, pad_token_id: 99 } })).toThrow(
      /pad_token_id should be a token below/,
    )
  })
  it('relative positions have no end', () =>
    expect(open(tiny('t5-0')).positions).toBe(Number.POSITIVE_INFINITY))
})

describe('a sentence model pools as its folder asks', () => {
  const pooled = (
    mode: Record<string, unknown>,
    modules: string[] = ['Transformer', 'Pooling', 'Normalize'],
  ) => {
    const at = writeModel(tiny('bert-0'), temporaryFolder())
    mkdirSync(join(at, '1_Pooling'))
    writeFileSync(join(at, 'modules.json'), JSON.stringify(modules.map((type, idx) => ({ idx, type: `sentence_transformers.models.${type}`, path: type === 'Pooling' ? '1_Pooling' : '' })))) // biome-ignore format: one file
    writeFileSync(join(at, '1_Pooling/config.json'), JSON.stringify(mode))
    const model = openModel(at, { architectures, task: 'features' })
    const objective = registry.get('objective', 'sentence-embedding')
    return objective.deploy?.({
      model,
      g: model.g,
      param: undefined as never,
      input: undefined as never,
      labels: 0,
      expectedRows: 1,
    })
  }
  it.each([{ pooling_mode_cls_token: true }, { pooling_mode: 'lasttoken' }, { pooling_mode_mean_tokens: true }])('%o', (mode) => expect(pooled(mode)).toBeDefined()) // biome-ignore format: one line
  it.each([
    [{ pooling_mode_cls_token: true, pooling_mode_max_tokens: true }, undefined, /pooling by cls and max/],
    [{ pooling_mode: 'weightedmean' }, undefined, /pooling by weightedmean; known are cls, mean, lasttoken/],
    [{ pooling_mode: 'mean' }, ['Transformer', 'Pooling', 'LSTM'], /module LSTM is not known/],
  ])('%o %o is refused', (mode, modules, message) => expect(() => pooled(mode, modules)).toThrow(message))
})

it('reads what the generator of goldens wrote', () => {
  const { config } = tiny('llama-0')
  expect(
    JSON.parse(readFileSync(join(writeModel(tiny('llama-0'), temporaryFolder()), 'config.json'), 'utf8')),
  ).toEqual(config)
})
