/** Modules HF PEFT rescales by default, by model_type (peft/utils/constants.py). */
export const targetModules: Record<string, readonly string[]> = {
  bart: ['q_proj', 'v_proj', 'fc2'],
  bert: ['key', 'value', 'output.dense'],
  bloom: ['query_key_value', 'mlp.dense_4h_to_h'],
  'deberta-v2': ['key_proj', 'value_proj', 'output.dense'],
  falcon: ['query_key_value', 'dense_4h_to_h'],
  gemma: ['q_proj', 'v_proj', 'down_proj'],
  gemma2: ['q_proj', 'v_proj', 'down_proj'],
  gemma3_text: ['q_proj', 'v_proj', 'down_proj'],
  gpt2: ['c_attn', 'mlp.c_proj'],
  gpt_bigcode: ['c_attn', 'mlp.c_proj'],
  gpt_neo: ['q_proj', 'v_proj', 'c_proj'],
  gpt_neox: ['query_key_value', 'dense_4h_to_h'],
  gptj: ['q_proj', 'v_proj', 'fc_out'],
  llama: ['k_proj', 'v_proj', 'down_proj'],
  mistral: ['k_proj', 'v_proj', 'down_proj'],
  mixtral: ['k_proj', 'v_proj', 'w2'],
  opt: ['q_proj', 'k_proj', 'fc2'],
  phi: ['q_proj', 'v_proj', 'fc2'],
  qwen2: ['q_proj', 'v_proj', 'down_proj'],
  qwen3: ['q_proj', 'v_proj', 'down_proj'],
  roberta: ['key', 'value', 'output.dense'],
  t5: ['k', 'v', 'wo'],
  mt5: ['k', 'v', 'wi_1'],
}

/** Those of them that lie in the feed-forward block: the last of each, but for mT5, where HF PEFT's table has none. */
export const feedForwardModules: Record<string, readonly string[]> = {
  ...Object.fromEntries(Object.entries(targetModules).map(([type, names]) => [type, names.slice(-1)])),
  mt5: [],
}
