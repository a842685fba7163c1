import type { Architecture } from '@graft-peft/core'
import { albert } from './albert.js'
import { bart, blenderbot, blenderbotSmall, m2m100, marian, mbart, pegasus, plbart } from './bart.js'
import { beit } from './beit.js'
import { bert, ernieEncoder, megatronBert } from './bert.js'
import { bloom } from './bloom.js'
import { clip } from './clip.js'
import { cohere, cohere2 } from './cohere.js'
import { configClasses } from './config-classes/index.js'
import { debertaV2 } from './deberta-v2.js'
import { dinov2, dinov2WithRegisters } from './dinov2.js'
import { dinov3 } from './dinov3.js'
import { distilbert } from './distilbert.js'
import { electra } from './electra.js'
import { esm } from './esm.js'
import { eurobert } from './eurobert.js'
import { examples } from './examples.js'
import { falcon } from './falcon.js'
import { gemma, gemma2, gemma3 } from './gemma.js'
import { glm, glm4 } from './glm.js'
import { gpt2 } from './gpt2.js'
import { gptBigCode } from './gpt-bigcode.js'
import { gptNeo } from './gpt-neo.js'
import { gptNeoX } from './gpt-neox.js'
import { gptOss } from './gpt-oss.js'
import { codegen, gptj } from './gptj.js'
import { arcee, cwm, ernie, exaone4, granite, helium, hunyuan, internlm3, seedOss, smollm3 } from './kin.js'
import { apertus, nemotron, stablelm, starcoder2 } from './layer-normed.js'
import { lfm2 } from './lfm2.js'
import { llama } from './llama.js'
import { ministral3, mistral } from './mistral.js'
import { modernbert } from './modernbert.js'
import { dots1, ernieMoe, glm4Moe, graniteMoe, mixtral, olmoe, qwen2Moe, qwen3Moe } from './moe.js'
import { mpnet } from './mpnet.js'
import { mpt } from './mpt.js'
import { multimodal } from './multimodal.js'
import { nomicBert } from './nomic-bert.js'
import { olmo, olmo2, olmo3 } from './olmo.js'
import { opt } from './opt.js'
import { persimmon } from './persimmon.js'
import { phi } from './phi.js'
import { phi3 } from './phi3.js'
import { qwen2 } from './qwen2.js'
import { qwen3 } from './qwen3.js'
import { data2vecText, roberta, robertaPreLayerNorm, xlmRobertaXl } from './roberta.js'
import { roformer } from './roformer.js'
import { siglip } from './siglip.js'
import { t5 } from './t5.js'
import { deit, vit, vitMsn } from './vit.js'
import { biogpt, xglm } from './xglm.js'

export * from './blocks/activations.js'
export * from './blocks/attention.js'
export * from './blocks/bart-layer.js'
export * from './blocks/encoder-decoder.js'
export * from './blocks/experts.js'
export * from './blocks/feed-forward.js'
export * from './blocks/gated-decoder.js'
export * from './blocks/gpt-decoder.js'
export * from './blocks/heads.js'
export * from './blocks/images.js'
export * from './blocks/inputs.js'
export * from './blocks/masks.js'
export * from './blocks/norms.js'
export * from './blocks/relative-positions.js'
export * from './blocks/rope.js'
export * from './blocks/scope.js'
export * from './blocks/vit-layer.js'
export * from './blocks/short-convolution.js'
export * from './blocks/sinusoids.js'
export { configClasses } from './config-classes/index.js'

/** Every architecture that comes with Graft; a config.json's keys have the defaults of transformers' classes. */
const architectures: readonly Architecture[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  gemma,
  gemma2,
  gemma3,
  ministral3,
  granite,
  smollm3,
  seedOss,
  ernie,
  helium,
  hunyuan,
  arcee,
  internlm3,
  cwm,
  exaone4,
  olmo,
  olmo2,
  olmo3,
  cohere,
  cohere2,
  glm,
  glm4,
  phi,
  stablelm,
  starcoder2,
  nemotron,
  apertus,
  mixtral,
  qwen2Moe,
  qwen3Moe,
  olmoe,
  graniteMoe,
  ernieMoe,
  glm4Moe,
  dots1,
  gptOss,
  lfm2,
  gptNeoX,
  gptj,
  gpt2,
  gptBigCode,
  gptNeo,
  falcon,
  opt,
  bloom,
  mpt,
  codegen,
  persimmon,
  xglm,
  biogpt,
  bert,
  roberta,
  distilbert,
  modernbert,
  electra,
  mpnet,
  eurobert,
  albert,
  debertaV2,
  nomicBert,
  roformer,
  xlmRobertaXl,
  robertaPreLayerNorm,
  data2vecText,
  megatronBert,
  ernieEncoder,
  esm,
  t5,
  bart,
  mbart,
  pegasus,
  marian,
  m2m100,
  blenderbot,
  blenderbotSmall,
  plbart,
  vit,
  vitMsn,
  deit,
  beit,
  dinov2,
  dinov2WithRegisters,
  dinov3,
  siglip,
  clip,
  multimodal,
].map((architecture) => ({ ...architecture, defaults: configClasses, examples }))
export default architectures
