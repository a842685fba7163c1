import { type ArchitectureContext, defineArchitecture, type Settings, type Value } from '@graft-peft/core'
import { chosenRoutes, correctedRoutes, groupedRoutes, groupsOf, softmaxRoutes } from './blocks/experts.js'
import {
  gatedDecoder,
  type GatedDecoder,
  headNorms,
  headWidthOf,
  llamaLike,
  slidingLayers,
} from './blocks/gated-decoder.js'
import { gatedFeedForward } from './blocks/feed-forward.js'
import { gatedMixture, shared, sizes } from './blocks/gated-mixture.js'
import { decoderTasks } from './blocks/heads.js'
import type { Scope } from './blocks/scope.js'
import { ernieLike, graniteLike } from './kin.js'

/** What routers do while they train alone: losses of their own are not. */
const training = ['router_jitter_noise', 'input_jitter_noise']
const own = { tasks: decoderTasks, prefix: 'model', ignores: training }

/** Mixtral (Jiang et al., 2024, arXiv 2401.04088): Mistral whose feed-forward part is a mixture. */
export const mixtral = defineArchitecture({
  ...own,
  name: 'mixtral',
  modelTypes: ['mixtral'],
  names: (parameter) => {
    const before = parameter.replace('.mlp.', '.block_sparse_moe.')
    const letters = { gate: 'w1', up: 'w3', down: 'w2' } as const
    return [before.replace(/(experts\.\d+\.)(gate|up|down)_proj/, (_, at, name: keyof typeof letters) => at + letters[name])]
  }, // biome-ignore format: a table
  build: (c) => {
    const all = sizes(c.config, ['num_local_experts', 'num_experts'], 'intermediate_size')
    return gatedDecoder(c, {
      ...llamaLike(c.config),
      layers: slidingLayers(c.config, () => true),
      experts: (at, x) =>
        gatedMixture(c, at.in('mlp'), x, {
          ...all,
          route: (router, shape) => softmaxRoutes(router, { ...shape, normalised: true }),
        }),
    })
  },
})

/** Whether layer i is a mixture: every `decoder_sparse_step`th, but for those that are named. */
function sparse(config: Settings): (i: number) => boolean {
  const step = config.count('decoder_sparse_step', 1)
  const dense = config.lists('mlp_only_layers') ?? []
  return (i) => !dense.includes(i) && (i + 1) % step === 0
}

/** Qwen 1.5 and 2 with experts (Yang et al., 2024, arXiv 2407.10671): one expert more that every token goes to, by a gate. */
export const qwen2Moe = defineArchitecture({
  ...own,
  name: 'qwen2-moe',
  modelTypes: ['qwen2_moe'],
  build: (c) => {
    const { g, config } = c
    const like = llamaLike(config)
    const [all, isSparse] = [sizes(config, 'num_experts', 'moe_intermediate_size'), sparse(config)]
    const [width, inner] = [config.count('hidden_size'), config.count('shared_expert_intermediate_size')]
    const normalised = config.flag('norm_topk_prob', false)
    const windows = config.flag('use_sliding_window', false)
    const last = config.whole('max_window_layers', 28)
    const layers = slidingLayers(config, (i) => windows && i % 2 === 0 && i < last)
    const experts = (layer: Scope, x: Value): Value => {
      const at = layer.in('mlp')
      const mixed = gatedMixture(c, at, x, {
        ...all,
        route: (router, shape) => softmaxRoutes(router, { ...shape, normalised }),
      })
      const one = shared(at.in('shared_expert'), like, width, inner, x)
      const gate = at.linear('shared_expert_gate', x, width, 1, false)
      return at.run(() => g.add(mixed, g.mul(g.sigmoid(gate), one)))
    }
    return gatedDecoder(c, {
      ...like,
      qkvBias: config.flag('qkv_bias', true),
      layers: layers.map((kind) => (windows ? kind : {})),
      experts: (at, x, i) => (isSparse(i) ? experts(at, x) : undefined),
    })
  },
})

/** Qwen 3 with experts (Yang et al., 2025, arXiv 2505.09388). */
export const qwen3Moe = defineArchitecture({
  ...own,
  name: 'qwen3-moe',
  modelTypes: ['qwen3_moe'],
  ignores: [...training, 'max_window_layers'],
  build: (c) => {
    const { config } = c
    const like = llamaLike(config)
    const bias = config.flag('attention_bias', false)
    const [all, isSparse] = [sizes(config, ['num_experts', 'num_local_experts'], 'moe_intermediate_size'), sparse(config)] // biome-ignore format: one line
    const normalised = config.flag('norm_topk_prob', false)
    const windows = config.flag('use_sliding_window', false)
    const window = config.optionalCount('sliding_window')
    return gatedDecoder(c, {
      ...like,
      headNorm: headNorms(like.norm, headWidthOf(config)),
      qkvBias: bias,
      outputBias: bias,
      layers: like.layers.map(() => (windows ? { window } : {})),
      experts: (at, x, i) =>
        isSparse(i)
          ? gatedMixture(c, at.in('mlp'), x, { ...all, route: (router, shape) => softmaxRoutes(router, { ...shape, normalised }) }) // biome-ignore format: one line
          : undefined,
    })
  },
})

/** OLMoE (Muennighoff et al., 2024, arXiv 2409.02060): query and key normalised across heads. */
export const olmoe = defineArchitecture({
  ...own,
  name: 'olmoe',
  modelTypes: ['olmoe'],
  build: (c) => {
    const { g, config } = c
    const like = llamaLike(config)
    const bias = config.flag('attention_bias', false)
    const normalised = config.flag('norm_topk_prob', false)
    const all = sizes(config, ['num_experts', 'num_local_experts'], 'intermediate_size')
    const clip = config.optional('clip_qkv')
    const clipped = (y: Value) =>
      clip === undefined ? y : g.op('Clip', [y, g.scalar(-clip), g.scalar(clip)])
    return gatedDecoder(c, {
      ...like,
      qkvBias: bias,
      outputBias: bias,
      wholeNorm: (at, part, x, heads) =>
        clipped(like.norm(at, `${part}_norm`, x, heads * headWidthOf(config))),
      valueClip: clip,
      experts: (at, x) =>
        gatedMixture(c, at.in('mlp'), x, {
          ...all,
          route: (router, shape) => softmaxRoutes(router, { ...shape, normalised }),
        }),
    })
  },
})

/** Granite with experts (IBM, 2024), and with one that every token goes to. */
export const graniteMoe = defineArchitecture({
  ...own,
  name: 'granite-moe',
  modelTypes: ['granitemoe', 'granitemoeshared'],
  names: (parameter) => [
    parameter
      .replace('experts.gate_up_proj', 'input_linear.weight')
      .replace('experts.down_proj', 'output_linear.weight')
      .replace('router.weight', 'router.layer.weight'),
  ],
  build: (c) => {
    const { g, config } = c
    const all = sizes(config, ['num_local_experts', 'num_experts'], 'intermediate_size')
    const common = config.whole('shared_intermediate_size', 0)
    const like = graniteLike(config)
    const oneExpert = { ...like.feedForward, gate: undefined, up: 'input_linear', down: 'output_linear', fused: true, bias: false } // biome-ignore format: one line
    return gatedDecoder(c, {
      ...like,
      experts: (layer, x) => {
        const mixed = gatedMixture(c, layer.in('block_sparse_moe'), x, {
          ...all,
          route: (router, shape) => chosenRoutes(router, { ...shape, router: 'router' }),
        })
        if (common === 0) return mixed
        const width = config.count('hidden_size')
        const one = gatedFeedForward(layer.in('shared_mlp'), oneExpert, width, common, x)
        return layer.run(() => g.add(mixed, one))
      },
    })
  },
})

/** ERNIE 4.5 with experts (Baidu, 2025). */
export const ernieMoe = defineArchitecture({
  ...own,
  name: 'ernie-moe',
  modelTypes: ['ernie4_5_moe'],
  names: (parameter) => [parameter.replace('mlp.gate.moe_statics.', 'mlp.moe_statics.')],
  build: (c) => {
    const { g, config } = c
    const like = ernieLike(config)
    const [width, count] = [config.count('hidden_size'), config.count(['moe_num_experts', 'num_experts'])]
    const [inner, common] = [config.count('moe_intermediate_size'), config.whole('moe_num_shared_experts', 2)]
    const chosen = config.count(['moe_k', 'num_experts_per_tok'])
    const last = config.whole('moe_layer_end_index', -1)
    const [start, end] = [config.whole('moe_layer_start_index', 1), last < 0 ? like.layers.length - 1 : last]
    const interval = config.count('moe_layer_interval', 1)
    const least = config.number('moe_norm_min', 1e-12)
    const experts = (at: Scope, x: Value): Value => {
      const mixed = gatedMixture(c, at, x, {
        count,
        chosen,
        inner,
        route: (router, shape) => {
          const correction = router.in('gate.moe_statics').parameter('e_score_correction_bias', [1, count])
          return correctedRoutes(router, { ...shape, least, correction })
        },
      })
      const one = common > 0 && shared(at.in('shared_experts'), like, width, inner * common, x)
      return one ? at.run(() => g.add(mixed, one)) : mixed
    }
    return gatedDecoder(c, {
      ...like,
      logitBias: config.flag('use_bias', false),
      experts: (at, x, i) =>
        (i + 1) % interval === 0 && i >= start && i <= end ? experts(at.in('mlp'), x) : undefined,
    })
  },
})

/** A mixture as DeepSeek V3 has it, from layer first_k_dense_replace on, with an expert that every token goes to. */
export function deepseekExperts(c: ArchitectureContext, like: GatedDecoder): GatedDecoder['experts'] {
  const { g, config } = c
  const all = sizes(config, ['n_routed_experts', 'num_local_experts'], 'moe_intermediate_size')
  const [width, common] = [config.count('hidden_size'), config.count('n_shared_experts')]
  const groups = groupsOf(config)
  const first = config.whole('first_k_dense_replace', 0)
  return (layer, x, i) => {
    if (i < first) return undefined
    const at = layer.in('mlp')
    const mixed = gatedMixture(c, at, x, {
      ...all,
      route: (router, shape) => groupedRoutes(router, { ...shape, ...groups }),
    })
    const one = shared(at.in('shared_experts'), like, width, all.inner * common, x)
    return at.run(() => g.add(mixed, one))
  }
}

/** GLM-4.5 (GLM Team, 2025, arXiv 2508.06471). */
export const glm4Moe = defineArchitecture({
  ...own,
  name: 'glm4-moe',
  modelTypes: ['glm4_moe'],
  ignores: [...training, 'num_nextn_predict_layers'],
  unused: (tensor) => /(^|\.)layers\.\d+\.(eh_proj|enorm|hnorm|shared_head)\./.test(tensor),
  build: (c) => {
    const { config } = c
    const like = llamaLike(config)
    const normalises = config.flag('use_qk_norm', false)
    return gatedDecoder(c, {
      ...like,
      qkvBias: config.flag('attention_bias', false),
      headNorm: normalises ? headNorms(like.norm, headWidthOf(config)) : undefined,
      ropeShape: { partial: 0.5 },
      experts: deepseekExperts(c, like),
    })
  },
})

/** dots.llm1 (rednote, 2025, arXiv 2506.05767). */
export const dots1 = defineArchitecture({
  ...own,
  name: 'dots1',
  modelTypes: ['dots1'],
  build: (c) => {
    const { config } = c
    const like = llamaLike(config)
    const bias = config.flag('attention_bias', false)
    const from = config.whole('max_window_layers', 62)
    return gatedDecoder(c, {
      ...like,
      qkvBias: bias,
      outputBias: bias,
      headNorm: headNorms(like.norm, headWidthOf(config)),
      layers: slidingLayers(config, (i) => i >= from),
      experts: deepseekExperts(c, like),
    })
  },
})
