import {
  type AttachContext,
  type Builder,
  definePeftMethod,
  flag,
  GraftError,
  type Initialiser,
  type LinearSite,
  positive,
  shapeOf,
  type TargetOptions,
  targetedSchema,
  targets,
  uniform,
  type Value,
  zeros,
  only,
} from '@graft-peft/core'

export interface PolyOptions extends TargetOptions {
  r: number
  n_tasks: number
  n_skills: number
  n_splits: number
  init_weights: boolean
}

/** y + B·A·x/r, A and B of each text a mixture of skills that its task's router weighs (Ponti et al., 2022, arXiv 2202.13914);
 *  options as HF PEFT's PolyConfig. */
export default definePeftMethod<PolyOptions>({
  name: 'poly',
  apiVersion: 1,
  peftType: 'POLY',
  family: 'mixtures',
  summary: 'low-rank skills, mixed by task',
  paper: 'https://arxiv.org/abs/2202.13914',
  learningRate: 5e-3,
  mergeable: false,
  ownOptions: ['layers_to_transform', 'layers_pattern'],
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    r: positive(8),
    poly_type: only('poly', 'HF PEFT has this one alone'),
    n_tasks: positive(1),
    n_skills: positive(4),
    n_splits: positive(1),
    init_weights: flag(true),
  }),
  tasks: ({ n_tasks }) => n_tasks,
  attach(context, options) {
    const { model, g } = context
    const tasks = context.taskIds()
    for (const site of targets(model, options)) {
      const { A, B, mixed } = skills(context, site, options, tasks)
      site.output.map((y, x) => {
        if (shapeOf(x).length !== 3)
          throw new GraftError(
            'BAD_METHOD_OPTION',
            `method poly: ${site.path} reads vectors, not sequences. Leave it out of target_modules.`,
          )
        return g.add(y, g.scale(g.matMul(g.matMul(x, mixed(A)), mixed(B)), 1 / options.r))
      })
    }
    return {}
  },
})

function skills(
  { g, param, noise }: AttachContext,
  { path, inFeatures, outFeatures }: LinearSite,
  { r, n_tasks, n_skills, n_splits, init_weights }: PolyOptions,
  tasks: Value,
) {
  if (inFeatures % n_splits !== 0 || outFeatures % n_splits !== 0)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method poly: n_splits ${n_splits} must divide the features of ${path}: ${inFeatures} in, ${outFeatures} out.`,
    )
  const [into, out] = [inFeatures / n_splits, outFeatures / n_splits]
  const start = (fan: number): Initialiser => uniform(1 / Math.sqrt(fan))
  const A = param(`${path}.poly_lora_A`, { shape: [n_splits, n_skills, into, r], init: start(into) })
  const B = param(`${path}.poly_lora_B`, {
    shape: [n_splits, n_skills, r, out],
    init: init_weights ? zeros : start(r),
  })
  const logits = param(`${path}.poly_router.module_logits`, {
    shape: [n_tasks, n_splits * n_skills],
    init: uniform(1e-3),
  })
  const own = g.gather(logits, tasks)
  const open = g.sigmoid(g.add(own, logistic(g, noise(own, path))))
  const gates = g.reshape(open, [-1, n_splits, n_skills])
  const weights = g.div(gates, g.add(g.reduceSum(gates, [2]), g.scalar(1e-12)))
  const perSplit = g.transpose(weights, [1, 0, 2])
  /** Each row's own matrix: A [batch, in, r] of splits along its rows, B [batch, r, out] along its columns. */
  const mixed = (all: Value): Value => {
    const [rows, columns] = shapeOf(all).slice(2) as number[]
    const made = g.matMul(perSplit, g.reshape(all, [n_splits, n_skills, rows * columns]))
    const splits = g.reshape(made, [n_splits, -1, rows, columns])
    return all === A
      ? g.reshape(g.transpose(splits, [1, 0, 2, 3]), [-1, inFeatures, r])
      : g.reshape(g.transpose(splits, [1, 2, 0, 3]), [-1, r, outFeatures])
  }
  return { A, B, mixed }
}

/** Logistic numbers of normal ones: what makes a gate a relaxed Bernoulli number while training; zero of zero. */
function logistic(g: Builder, normal: Value): Value {
  const tail = (sign: number) =>
    g.op('Max', [g.add(g.scalar(1), g.op('Erf', [g.scale(normal, sign / Math.SQRT2)])), g.scalar(1e-6)])
  return g.sub(g.log(tail(1)), g.log(tail(-1)))
}
