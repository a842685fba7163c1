import type { Family } from './family.js'

type Options = (family: Family) => Record<string, unknown>

const targeted =
  (more: Record<string, unknown> = {}): Options =>
  ({ targets }) => ({ target_modules: targets, ...more })

/** What tells tasks apart can't write texts. */
const tasks = ({ labels }: Family): number => (labels.length > 0 ? 2 : 1)

/** How each method is configured on a family's model: sizes that fit layers of sixteen and twenty. */
export const optionsOf: Record<string, Options> = {
  lora: targeted({ r: 2, lora_alpha: 4, use_rslora: true }),
  adalora: targeted({ init_r: 3, target_r: 2, tinit: 1, tfinal: 1 }),
  hira: targeted({ r: 2 }),
  gralora: targeted({ r: 4, gralora_k: 2 }),
  delora: targeted({ r: 2, init_weights: false }),
  c3a: targeted({ block_size: 2 }),
  glora: targeted({ r: 2, config_D_E: 'vector' }),
  peanut: targeted({ r: 3, act_fn: 'tanh' }),
  deft: targeted({ r: 2, decomposition_method: 'qr' }),
  adamss: targeted({ r: 4, num_subspaces: 2, subspace_rank: 2 }),
  loha: targeted({ r: 2 }),
  lokr: targeted({ r: 2, decompose_factor: 4 }),
  miss: targeted({ r: 4 }),
  ia3: ({ targets }) => ({ target_modules: targets, feedforward_modules: [] }),
  full: () => ({}),
  bitfit: () => ({}),
  ln_tuning: () => ({}),
  trainable_tokens: () => ({ token_indices: [5, 9, 17] }),
  beft: targeted(),
  poly: (family) => ({ target_modules: family.targets, r: 2, n_tasks: tasks(family), n_splits: 2 }),
  oft: targeted({ oft_block_size: 4 }),
  boft: targeted({ boft_block_size: 4 }),
  hra: targeted({ r: 4 }),
  road: targeted({ group_size: 2 }),
  osf: targeted({ effective_rank: 3 }),
  psoft: targeted({ r: 4 }),
  'p-tuning': () => ({ num_virtual_tokens: 3, encoder_hidden_size: 8 }),
  'prefix-tuning': () => ({ num_virtual_tokens: 3 }),
  cartridge: () => ({ num_virtual_tokens: 3, num_frozen_tokens: 1 }),
  'adaption-prompt': () => ({ adapter_len: 3, adapter_layers: 1 }),
  'prompt-tuning': () => ({ num_virtual_tokens: 3 }),
  'multitask-prompt-tuning': (family) => ({ num_virtual_tokens: 3, num_tasks: tasks(family) }),
  cpt: () => ({ cpt_token_ids: [5, 9, 3], opt_projection_epsilon: 9, opt_projection_format_epsilon: 9 }),
  vblora: targeted({ r: 2, num_vectors: 6, vector_length: 4 }),
  tinylora: targeted({ r: 2, u: 4 }),
  unilora: targeted({ r: 2, theta_d_length: 9 }),
  lily: targeted({ r: 3 }),
  frod: targeted({ sparse_rate: 0.05 }),
  vera: targeted({ r: 6 }),
  pvera: targeted({ r: 6 }),
  randlora: targeted({ r: 6 }),
  bottleneck: () => ({ reduction_factor: 4 }),
  reft: () => ({ r: 2 }),
  shira: targeted({ r: 2 }),
  fourierft: targeted({ n_frequency: 12 }),
  waveft: targeted({ n_frequency: 12 }),
  xlora: ({ experts }) => ({ adapters: experts }),
  supertuning: targeted({ sparsity: 0.9 }),
}

/** Writers whose attention is none of LLaMA's, Mistral's and GPT-2's. */
const others = ['gpt_neox', 'gptj', 'bloom', 'opt', 'phi3', 'falcon', 'mpt']
const readers = ['bert', 'modernbert', 'deberta-v2', 'distilbert']
const answerers = ['t5', 'bart']
const seers = ['vit', 'clip', 'dinov2']
const prompts = ['p-tuning', 'prompt-tuning', 'multitask-prompt-tuning', 'cpt', 'prefix-tuning', 'cartridge']

/** Families that a method is refused for, by the error's code. */
export const refused: readonly (readonly [methods: string[], families: string[], code: string])[] = [
  [['adaption-prompt'], [...others, ...readers, ...answerers, ...seers], 'TARGET_NOT_FOUND'],
  [['bitfit'], ['phi3', 'qwen3', 'mpt', 'mixtral', 't5'], 'NO_BIASES'],
  [['xlora'], [...readers, ...answerers, ...seers], 'BAD_METHOD_OPTION'],
  [['poly'], ['deberta-v2'], 'BAD_METHOD_OPTION'],
  [['vblora'], ['t5'], 'BAD_METHOD_OPTION'],
  [['reft'], ['mixtral', 'olmoe', 'dinov2'], 'TARGET_NOT_FOUND'],
  [['bottleneck'], ['dinov2'], 'TARGET_NOT_FOUND'],
  [[...prompts.slice(0, 4), 'trainable_tokens'], seers, 'NO_TOKENS'],
  [prompts.slice(4), seers, 'NO_ATTENTION'],
  [prompts, answerers, 'UNSUPPORTED_ADAPTER'],
]

/** What mixes by all that a layer reads, so that the pad which fills an answer of one token up to two counts in the numbers compared with. */
export const countsPads = 'lily'
export const isAnswerer = ({ kind }: Family): boolean => answerers.includes(kind)
