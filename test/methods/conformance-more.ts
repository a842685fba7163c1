import { type TestCases } from '@graft-peft/method-tester'
import { writeSafetensors } from '@graft-peft/core/inside'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../fixture.js'
import { qv, both } from './conformance-options.js'

/** LoRA adapters of the toy decoder, in folders of their own. */
const adapters = Object.fromEntries(
  ['q_proj', 'up_proj'].map((name, i) => {
    const folder = temporaryFolder()
    const outputs = i === 0 ? 16 : 24
    const numbers = (shape: number[]) => ({
      dtype: 'F32' as const,
      shape,
      data: new Uint8Array(
        Float32Array.from({ length: shape[0] * shape[1] }, (_, k) => Math.sin(k + i) / 2).buffer,
      ),
    })
    const key = (part: string) =>
      `base_model.model.model.layers.1.${i === 0 ? 'self_attn' : 'mlp'}.${name}.lora_${part}.weight`
    const tensors = new Map([
      [key('A'), numbers([2, 16])],
      [key('B'), numbers([outputs, 2])],
    ])
    writeSafetensors(join(folder, 'adapter_model.safetensors'), { tensors, metadata: {} })
    writeFileSync(
      join(folder, 'adapter_config.json'),
      JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 2 }),
    )
    return [name, folder]
  }),
)

/** Lily's router takes a mean over all tokens of the batch, as HF PEFT's does. */
const routed = {
  'batches of any size': 'the router takes a mean over the batch',
  'a position knows nothing': 'the router takes a mean over the batch',
}

/** The same of further methods. */
export const more: Record<string, TestCases> = {
  hira: {
    valid: [
      { config: { ...qv, r: 2 } },
      { config: { target_modules: ['embed_tokens', 'q_proj'], r: 2, init_weights: 'gaussian' } },
      { config: { ...qv, r: 2, hira_dropout: 0.1 } },
    ],
  },
  gralora: {
    valid: [{ config: { ...qv, r: 4 } }, { config: { ...qv, r: 4, gralora_k: 4, hybrid_r: 2 } }],
    invalid: [{ config: { ...qv, r: 4, gralora_k: 3 }, error: /gralora_k 3 must divide r/ }],
  },
  delora: {
    valid: [
      { config: { ...qv, r: 2, init_weights: false } },
      { config: { ...qv, rank_pattern: { v_proj: 3 }, lambda_pattern: { q_proj: 2 }, init_weights: false } },
    ],
  },
  c3a: {
    valid: [{ config: { ...qv, block_size: 4 } }, { config: { ...qv, block_size: 8, init_weights: true } }],
    invalid: [{ config: { ...qv, block_size: 5 }, error: /block_size 5 must divide/ }],
  },
  glora: {
    valid: [
      ...both({ ...qv, r: 2 }),
      { config: { ...qv, config_A_B: 'vector', config_D_E: 'vector', config_C: 'vector' }, model: 'encoder' },
      { config: { ...qv, config_A_B: 'constant' } },
    ],
  },
  peanut: {
    valid: [
      { config: { ...qv, r: 4, act_fn: 'tanh' } },
      { config: { ...qv, r: 4, depth: 2, act_fn: 'gelu' } },
    ],
  },
  deft: {
    valid: [
      ...both({ ...qv, r: 3, decomposition_method: 'qr', alpha: 6 }).map((test) => ({
        ...test,
        except: {
          'dropout drops': 'as in HF PEFT the subspace is taken out of all, and filled from what is left',
        },
      })),
      {
        config: { ...qv, r: 2, para: true, decomposition_method: 'qr' },
        except: { 'dropout drops': 'nothing is filled in, so there is nothing to drop from' },
      },
    ],
  },
  road: {
    valid: [
      ...both({ ...qv, group_size: 8 }),
      { config: { ...qv, group_size: 4, variant: 'road_2' } },
      { config: { ...qv, group_size: 2, variant: 'road_4' } },
    ],
    invalid: [{ config: { ...qv, group_size: 6 }, error: /group_size 6 doesn't divide/ }],
  },
  osf: {
    valid: [
      { config: { ...qv, effective_rank: 12 }, detached: ['U_low', 'V_low'] },
      { config: { ...qv, effective_rank: 0.5 }, model: 'encoder', detached: ['U_low', 'V_low'] },
      {
        config: { target_modules: ['up_proj'], rank_pattern: { up_proj: 14 } },
        detached: ['U_low', 'V_low'],
      },
    ],
    invalid: [{ config: { ...qv, effective_rank: 16 }, error: /keeps 16 of the 16 singular directions/ }],
  },
  xlora: {
    valid: [
      {
        config: { adapters },
        except: { 'dropout drops': 'a classifier of one layer has nothing between layers to drop from' },
      },
      {
        config: { adapters, layerwise_scalings: true, xlora_depth: 2, xlora_size: 6, enable_softmax: false },
      },
    ],
    invalid: [
      { config: {}, error: /name the LoRA adapters to mix/ },
      { config: { adapters, hidden_size: 5 }, error: /hidden_size 5 is not the model's 16/ },
      { config: { adapters: { a: '/nowhere' } }, error: /no adapter_config.json/ },
      { config: { adapters, use_trainable_adapters: true }, error: /use_trainable_adapters/ },
    ],
  },
  psoft: {
    valid: [
      ...both({ ...qv, r: 4, psoft_alpha: 6 }),
      {
        config: { ...qv, r: 3, ab_svd_init: 'pissa_init', use_cayley_neumann: true, cayley_neumann_eps: 0.5 },
      },
      { config: { ...qv, r: 3, psoft_orth: false, psoft_svd: 'lowrank', psoft_mag_a: false } },
      { config: { ...qv, r: 4, psoft_mag_b: false, psoft_dropout: 0.1, init_weights: false } },
    ],
    invalid: [{ config: { ...qv, r: 99 }, error: /r 99 is more than the/ }],
  },
  adamss: {
    valid: [
      ...both({ ...qv, r: 5, num_subspaces: 3, subspace_rank: 2 }),
      // With r at most half the outputs, a group's directions differ in size, and a threshold parts them.
      {
        config: {
          ...qv,
          r: 5,
          num_subspaces: 2,
          subspace_rank: 4,
          use_dynamic_rank: true,
          svd_threshold: 0.5,
        },
      },
      {
        config: {
          ...qv,
          r: 99,
          num_subspaces: 4,
          use_dynamic_rank: true,
          subspace_rank: 3,
          init_weights: null,
        },
      },
      {
        config: {
          ...qv,
          r: 6,
          use_asa: true,
          asa_target_subspaces: 4,
          init_warmup: 1,
          final_warmup: 6,
          mask_interval: 2,
        },
      },
    ],
    invalid: [
      { config: { ...qv, r: 5, use_asa: true, final_warmup: 20 }, error: /init_warmup 50 must be less than/ },
    ],
  },
  vblora: {
    valid: [
      {
        config: {
          ...qv,
          r: 2,
          num_vectors: 6,
          vector_length: 4,
          init_logits_std: 3,
          init_vector_bank_bound: 1,
        },
      },
    ],
    invalid: [{ config: { ...qv, vector_length: 5 }, error: /vector_length 5 must divide/ }],
  },
  tinylora: {
    valid: [
      { config: { ...qv, r: 3, u: 5 } },
      {
        config: {
          target_modules: ['embed_tokens', 'q_proj'],
          u: 4,
          weight_tying: 0.5,
          init_weights: 'uniform',
        },
      },
      { config: { ...qv, u: 4, save_projection: false } },
    ],
  },
  unilora: {
    valid: [{ config: { ...qv, r: 2, theta_d_length: 9 } }, { config: { ...qv, r: 1, save_indices: true } }],
  },
  lily: {
    valid: [
      { config: { ...qv, r: 3 }, except: routed },
      {
        config: { target_modules: 'all-linear', r: 2, num_B: 3, stride_A: 2, init_weights: false },
        except: routed,
      },
    ],
    invalid: [{ config: { ...qv, num_B: 1 }, error: /num_B/ }],
  },
  pvera: {
    valid: [
      { config: { ...qv, r: 6 } },
      { config: { target_modules: 'all-linear', r: 4, save_projection: false, generator_seed: 3 } },
    ],
  },
  waveft: {
    valid: [
      { config: { ...qv, n_frequency: 12 } },
      {
        config: {
          target_modules: ['q_proj', 'down_proj'],
          n_frequency: 12,
          wavelet_family: 'sym4',
          proportional_parameters: true,
        },
      },
      { config: { ...qv, n_frequency: 12, use_idwt: false } },
    ],
    invalid: [{ config: { ...qv, n_frequency: 999 }, error: /n_frequency 999 is more than/ }],
  },
  supertuning: {
    valid: [
      {
        config: { ...qv, sparsity: 0.9 },
        except: { 'dropout drops': 'without r there is no input to drop from' },
      },
      { config: { ...qv, sparsity: 0.95, select_top: false, r: 2, save_precomputed_indices: false } },
    ],
    invalid: [
      { config: { ...qv, sparsity: 0.9999 }, error: /leaves nothing to train/ },
      { config: { ...qv, lora_alpha: 4 }, error: /lora_alpha needs r/ },
    ],
  },
  beft: { valid: [{ config: { target_modules: ['v_proj'] }, model: 'encoder' }] },
  full: { valid: both({}) },
  bitfit: {
    valid: [{ config: {}, model: 'encoder' }],
    invalid: [{ config: {}, error: /none of its modules has a bias/ }],
  },
  ln_tuning: { valid: [...both({}), { config: { target_modules: ['input_layernorm'] } }] },
  trainable_tokens: {
    valid: both({ token_indices: Array.from({ length: 21 }, (_, i) => i + 3) }),
    invalid: [{ config: {}, error: /token_indices is missing/ }],
  },
}
