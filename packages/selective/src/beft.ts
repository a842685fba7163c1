import {
  definePeftMethod,
  flag,
  GraftError,
  type LinearSite,
  type MergedWeight,
  normal,
  type TargetOptions,
  targetedSchema,
  targets,
  zeros,
} from '@graft-peft/core'

export interface BeftOptions extends TargetOptions {
  init_weights: boolean
}

const v = ['v_proj']
const both = ['q_proj', 'v_proj']
/** The modules HF PEFT adapts by default: value projections where the paper found them enough. */
const defaults = {
  t5: ['v'],
  roberta: ['value'],
  bert: ['value'],
  'deberta-v2': ['value_proj'],
  opt: v,
  gptj: v,
  gpt_neo: v,
  bart: v,
  llama: v,
  mistral: v,
  mixtral: v,
  gemma2: both,
  gemma3_text: both,
  qwen2: both,
  qwen3: both,
}

/** y + b: a learned bias on value projections alone (Qian et al., 2025, arXiv 2509.15974); options as HF PEFT's BeftConfig. */
export default definePeftMethod<BeftOptions>({
  name: 'beft',
  apiVersion: 1,
  peftType: 'BEFT',
  family: 'selective',
  summary: 'adds a learned bias to value projections',
  paper: 'https://arxiv.org/abs/2509.15974',
  learningRate: 1e-2,
  mergeable: true,
  ownOptions: ['exclude_modules', 'layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({ init_weights: flag(true) }),
  attach({ model, g, param }, options) {
    const adapted = targets(model, options, { among: model.linears, defaults }).map((site) => {
      const added = param(`${site.path}.beft_bias`, {
        shape: [1, site.outFeatures],
        init: options.init_weights ? zeros : normal(1),
      })
      const bias = g.reshape(added, [site.outFeatures])
      site.output.map((y) => g.add(y, bias))
      return { site, bias }
    })
    return {
      merge: () => adapted.map(({ site, bias }): MergedWeight => [biasOf(site), (b) => g.add(b, bias)]),
    }
  },
})

function biasOf({ bias, path }: LinearSite) {
  if (bias) return bias
  throw new GraftError(
    'NOT_MERGEABLE',
    `beft adds a bias to ${path}, which has none in the base model. Use the adapter beside its base.`,
  )
}
