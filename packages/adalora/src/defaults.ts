import { defaultTargets } from '@graft-peft/core'

const seq2seq = ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc1', 'fc2']
/** HF PEFT's defaults for AdaLoRA, by model_type, where they differ from LoRA's (peft/utils/constants.py). */
export const targetModules: Record<string, readonly string[]> = {
  ...defaultTargets,
  bart: seq2seq,
  'deberta-v2': ['query_proj', 'key_proj', 'value_proj', 'dense'],
  mt5: ['q', 'k', 'v', 'o', 'wi_0', 'wi_1', 'wo'],
  opt: seq2seq,
  roberta: ['query', 'key', 'value', 'dense'],
  t5: ['q', 'k', 'v', 'o', 'wi', 'wo'],
}
