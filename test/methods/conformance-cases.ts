import { type TestCases } from '@graft-peft/method-tester'
import { qv, both, near } from './conformance-options.js'
import { more } from './conformance-more.js'
import { adapters } from './conformance-adapters.js'

/** Each method's options: those that must work, and those that must be refused. */
export const cases: Record<string, TestCases> = {
  lora: {
    valid: [
      { config: { ...qv, r: 2, lora_fa: true, init_lora_weights: false }, detached: ['lora_B'] },
      { config: { ...qv, r: 2, kasa_config: { beta: 0.1, gamma: 0.1 } } },
      {
        config: {
          ...qv,
          r: 4,
          use_bdlora: { target_modules_bd_a: ['q_proj'], target_modules_bd_b: ['v_proj'], nblocks: 2 },
        },
      },
      ...both({ r: 4, target_modules: 'all-linear' }),
      {
        config: {
          ...qv,
          r: 2,
          lora_alpha: 4,
          use_rslora: true,
          init_lora_weights: 'gaussian',
          loraplus_lr_ratio: 4,
        },
      },
      { config: { ...qv, r: 2, init_lora_weights: false } },
      { config: { ...qv, r: 2, use_dora: true }, detached: ['lora_A', 'lora_B'] },
      { config: { ...qv, r: 2, init_lora_weights: 'pissa' } },
      { config: { ...qv, r: 2, init_lora_weights: 'pissa_niter_4', use_rslora: true } },
      { config: { ...qv, r: 2, init_lora_weights: 'olora' } },
      { config: { ...qv, r: 2, init_lora_weights: 'mica' } },
      { config: { ...qv, r: 4, init_lora_weights: 'orthogonal' } },
      { config: { target_modules: 'all-linear', r: 2, init_lora_weights: 'eva' } },
      { config: { ...qv, r: 2, init_lora_weights: 'eva', eva_config: { rho: 1 }, use_rslora: true } },
      { config: { ...qv, r: 2, init_lora_weights: 'pissa', bias: 'all' }, model: 'encoder' },
      { config: { target_modules: ['embed_tokens', 'q_proj'], r: 2, init_lora_weights: 'olora' } },
      { config: { target_modules: ['embed_tokens', 'q_proj'], r: 2 } },
      { config: { ...qv, r: 2, lora_bias: true, bias: 'lora_only' }, model: 'encoder' },
      {
        config: {
          target_modules: 'all-linear',
          r: 3,
          rank_pattern: { q_proj: 1 },
          alpha_pattern: { 'layers.1.*.v_proj': 2 },
          exclude_modules: ['o_proj'],
        },
      },
    ],
    invalid: [
      { config: { ...qv, r: 16, kasa_config: {} }, error: /takes r = 16 directions out of/ },
      { config: { ...qv, use_dora: true, kasa_config: {} }, error: /exclude each other/ },
      { config: { ...qv, use_bdlora: { target_modules_bd_a: ['q_proj'] } }, error: /is in neither/ },
      {
        config: { ...qv, r: 3, use_bdlora: { target_modules_bd_a: ['q_proj', 'v_proj'], nblocks: 2 } },
        error: /nblocks 2 must divide/,
      },
      { config: { r: 0 }, error: /r: must be >= 1/ },
      { config: { rank: 8 }, error: /unknown key rank/ },
      { config: { ...qv, init_lora_weights: 'loftq' }, error: /init_lora_weights/ },
      { config: { ...qv, use_dora: true, init_lora_weights: 'pissa' }, error: /use_dora/ },
      { config: { ...qv, r: 3, init_lora_weights: 'orthogonal' }, error: /even r/ },
    ],
  },
  adalora: {
    valid: [
      ...both({ ...qv, init_r: 4, target_r: 2, tinit: 2, tfinal: 3, orth_reg_weight: 0.1 }),
      { config: { ...qv, init_r: 3, target_r: 3, tinit: 1, tfinal: 1 } },
    ],
    invalid: [{ config: { ...qv, tinit: 10, tfinal: 10 }, error: /tinit 10 \+ tfinal 10 must be less than/ }],
    // HF PEFT's LoraConfig has it; AdaLoRA goes by init_r.
    idle: ['r'],
  },
  'prefix-tuning': {
    valid: [
      ...both({ num_virtual_tokens: 3 }),
      { config: { num_virtual_tokens: 3, prefix_projection: true, encoder_hidden_size: 6 } },
      { config: { num_virtual_tokens: 4, prefix_init_text: 'sort the question' } },
    ],
    invalid: [
      {
        config: { num_virtual_tokens: 3, prefix_projection: true, prefix_init_text: 'a' },
        error: /prefix_projection: false/,
      },
    ],
  },
  'prompt-tuning': {
    valid: [
      ...both({ num_virtual_tokens: 3 }),
      { config: { num_virtual_tokens: 3, prompt_tuning_init: 'RANDOM' } },
      { config: { num_virtual_tokens: 5, prompt_tuning_init: 'TEXT', prompt_tuning_init_text: 'sort' } },
    ],
    invalid: [
      { config: { prompt_tuning_init: 'TEXT' }, error: /give prompt_tuning_init_text/ },
      { config: { num_virtual_tokens: 0 }, error: /num_virtual_tokens/ },
    ],
  },
  'p-tuning': {
    valid: [
      ...both({ num_virtual_tokens: 3, encoder_hidden_size: 8 }).map((test) => ({
        ...test,
        except: { 'dropout drops': 'encoder_dropout is the LSTM encoder’s, as in HF PEFT' },
      })),
      {
        config: {
          num_virtual_tokens: 3,
          encoder_reparameterization_type: 'LSTM',
          encoder_hidden_size: 4,
          encoder_num_layers: 2,
        },
      },
    ],
  },
  'multitask-prompt-tuning': {
    valid: both({ num_virtual_tokens: 3, num_tasks: 2, num_ranks: 2 }),
    invalid: [{ config: { prompt_tuning_init: 'EXACT_SOURCE_TASK' }, error: /prompt_tuning_init/ }],
    idle: ['prompt_tuning_init_task'],
  },
  cpt: {
    valid: [
      { config: { cpt_token_ids: [5, 9, 3], ...near } },
      {
        config: { cpt_token_ids: [5, 9, 3], cpt_tokens_type_mask: [1, 2, 4], ...near },
        // the answer's row doesn't move
        detached: ['delta_embedding'],
      },
    ],
    invalid: [
      { config: { cpt_token_ids: [5, 9], cpt_tokens_type_mask: [1] }, error: /1 entries for 2 tokens/ },
      { config: { cpt_token_ids: [999] }, error: /no token 999/ },
    ],
    idle: ['num_virtual_tokens', 'cpt_mask', 'opt_loss_decay_factor', 'tokenizer_name_or_path'],
  },
  cartridge: {
    valid: [
      ...both({ num_virtual_tokens: 3 }),
      { config: { num_virtual_tokens: 4, num_frozen_tokens: 0, prefix_init_text: 'sort the question' } },
    ],
    invalid: [{ config: { num_virtual_tokens: 2, num_frozen_tokens: 2 }, error: /leaves none/ }],
  },
  'adaption-prompt': {
    valid: [{ config: { adapter_len: 3, adapter_layers: 2 } }],
    invalid: [{ config: { adapter_layers: 9 }, error: /more than the 2 attentions named self_attn/ }],
  },
  frod: {
    valid: [
      ...both({ ...qv, sparse_rate: 0.05 }),
      { config: { target_modules: 'all-linear', exclude_modules: ['lm_head'], sparse_rate: 0.02 } },
    ],
  },
  poly: {
    valid: both({ ...qv, r: 2, n_tasks: 2, n_splits: 2 }),
    invalid: [{ config: { ...qv, n_splits: 3 }, error: /n_splits 3 must divide/ }],
  },
  ia3: {
    valid: both({ target_modules: ['k_proj', 'v_proj', 'down_proj'], feedforward_modules: ['down_proj'] }),
  },
  vera: {
    valid: [
      ...both({ ...qv, r: 6 }),
      { config: { target_modules: 'all-linear', r: 4, save_projection: false } },
    ],
  },
  randlora: {
    valid: [
      ...both({ ...qv, r: 6, randlora_alpha: 12 }),
      {
        config: {
          target_modules: 'all-linear',
          r: 8,
          randlora_alpha: 16,
          sparse: true,
          save_projection: false,
        },
      },
    ],
  },
  loha: {
    valid: [...both({ ...qv, r: 2 }), { config: { ...qv, r: 2, rank_dropout: 0.2, module_dropout: 0.1 } }],
  },
  lokr: {
    valid: [
      ...both({ ...qv, r: 2 }),
      { config: { ...qv, r: 1, decompose_both: true, decompose_factor: 4, init_weights: 'lycoris' } },
      { config: { ...qv, r: 2, rank_dropout: 0.2, rank_dropout_scale: true } },
    ],
  },
  oft: {
    valid: [
      ...both({ ...qv, oft_block_size: 4 }),
      {
        config: { ...qv, r: 2, oft_block_size: 0, block_share: true },
        except: { 'dropout drops': 'of blocks that share one rotation none is left out' },
      },
      { config: { ...qv, oft_block_size: 4, module_dropout: 0.3 } },
      { config: { ...qv, oft_block_size: 4, use_cayley_neumann: false, coft: true, eps: 50 } },
      {
        // Outside the ball what is trained is projected, and the gradient passes straight through, as in HF PEFT.
        config: { ...qv, oft_block_size: 4, use_cayley_neumann: false, coft: true, eps: 0.5 },
        detached: ['oft_R'],
      },
    ],
    invalid: [{ config: { ...qv, r: 2 }, error: /either r.*or oft_block_size/ }],
  },
  boft: {
    valid: [
      ...both(qv),
      { config: { ...qv, boft_block_size: 4, boft_n_butterfly_factor: 2, boft_dropout: 0.5 } },
    ],
    invalid: [{ config: { ...qv, boft_block_size: 5 }, error: /don't divide/ }],
  },
  hra: { valid: [...both({ ...qv, r: 4 }), { config: { ...qv, r: 3, apply_GS: true } }] },
  miss: {
    valid: [
      ...both({ ...qv, r: 6 }),
      {
        config: { ...qv, r: 4, init_weights: 'bat' },
        except: {
          'dropout drops': 'the update is in the weight, as in HF PEFT: there is no input to drop from',
        },
      },
      { config: { ...qv, r: 4, mini_r: 4, init_weights: 'mini' } },
    ],
    invalid: [{ config: { ...qv, r: 5, init_weights: 'bat' }, error: /divisible by r: 5/ }],
  },
  shira: { valid: both({ ...qv, r: 2 }), invalid: [{ config: { ...qv, r: 32 }, error: /Lower r/ }] },
  fourierft: { valid: both({ ...qv, n_frequency: 12, scaling: 40 }) },
  ...more,
  ...adapters,
}
