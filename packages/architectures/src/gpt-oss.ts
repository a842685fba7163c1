import { type ArchitectureContext, defineArchitecture, type Value } from '@graft-peft/core'
import { chosenRoutes, mixture } from './blocks/experts.js'
import { gatedDecoder, llamaLike, slidingLayers } from './blocks/gated-decoder.js'
import { decoderTasks } from './blocks/heads.js'
import type { Scope } from './blocks/scope.js'

/** gpt-oss (OpenAI, 2025, arXiv 2508.10925): experts with biases and a clamped gate, heads that may look nowhere. */
export const gptOss = defineArchitecture({
  name: 'gpt-oss',
  modelTypes: ['gpt_oss'],
  tasks: decoderTasks,
  prefix: 'model',
  ignores: ['initial_context_length', 'experts_per_token', 'hidden_act'],
  build: (c) => {
    const { config } = c
    const bias = config.flag('attention_bias', true)
    const experts = expertsOf(c)
    return gatedDecoder(c, {
      ...llamaLike(config),
      qkvBias: bias,
      outputBias: bias,
      sinks: true,
      layers: slidingLayers(config, (i) => i % 2 === 0),
      experts,
    })
  },
})

function expertsOf({ g, config }: ArchitectureContext): (layer: Scope, x: Value) => Value {
  const [width, inner] = [config.count('hidden_size'), config.count('intermediate_size')]
  const count = config.count(['num_local_experts', 'num_experts'])
  const chosen = config.count('num_experts_per_tok')
  const [alpha, limit] = [config.number('swiglu_alpha', 1.702), config.number('swiglu_limit', 7)]
  /** Gates and values lie alternately. */
  const gated = (both: Value): Value => {
    const pairs = g.op('Reshape', [both, g.ints([0, 0, inner, 2])])
    const [gate, value] = g.split(pairs, [1, 1], -1).map((y) => g.squeeze(y, [-1]))
    const low = g.op('Min', [gate, g.scalar(limit)])
    const clamped = g.op('Clip', [value, g.scalar(-limit), g.scalar(limit)])
    return g.mul(g.add(clamped, g.scalar(1)), g.op('com.microsoft::QuickGelu', [low], { alpha }))
  }
  return (layer, x) => {
    const at = layer.in('mlp')
    const own = at.in('experts')
    const route = chosenRoutes(at, { count, chosen, router: 'router', biased: true })
    const product = (rows: Value, name: string, e: number, [into, out]: readonly [number, number]) => {
      const weight = own.matrix(name, [into, out], { count, part: e })
      const bias = own.part(`${name}_bias`, [count, out], e)
      return g.add(g.matMul(rows, weight), bias)
    }
    const expert = (rows: Value, e: number) =>
      product(gated(product(rows, 'gate_up_proj', e, [width, 2 * inner])), 'down_proj', e, [inner, width])
    return mixture(at, x, { count, chosen, route, expert })
  }
}
