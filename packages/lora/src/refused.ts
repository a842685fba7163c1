/** Fields of HF PEFT's LoraConfig that mean nothing here, or aren't built, and what to do instead. */
export const refused = {
  megatron_config: "Megatron's parallel layers are PyTorch's; one machine computes the whole model here",
  megatron_core: "Megatron's parallel layers are PyTorch's; one machine computes the whole model here",
  runtime_config: "it moves weights between PyTorch's devices; weights are read where they lie",
  loftq_config:
    'its adapter fits the base that it rounded to NF4 alone, which no file holds; quantize: int4 beside the method trains on a quantised base',
  corda_config: "CorDA isn't built; init_lora_weights: eva starts from the data",
  lora_ga_config: "LoRA-GA isn't built; init_lora_weights: eva starts from the data",
  velora_config: "VeLoRA's compressed activations aren't built; memory: low keeps fewer",
  alora_invocation_tokens: "an adapter that begins in the middle of a text isn't built",
  use_qalora:
    "HF PEFT has it for GPTQ's layers alone, and no other layer heeds it; quantize: int4 beside the method trains on a quantised base",
  qalora_group_size: 'it belongs to use_qalora',
  monteclora_config: "MonteCLoRA isn't built",
  arrow_config: "Arrow isn't built; method: { name: xlora } mixes adapters",
  target_parameters: "parameters without a module of their own aren't adapted",
  ensure_weight_tying: "it isn't built; name both modules, or neither",
  layer_replication: "a model of repeated layers isn't built",
}
