import {
  type AttachContext,
  type Builder,
  definePeftMethod,
  flag,
  GraftError,
  type LinearSite,
  normal,
  numbersIn,
  oneOf,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  whole,
  zeros,
} from '@graft-peft/core'
import { allocation, type AllocationOptions, type Subspace } from './allocation.js'
import { groupsOf, type SubspaceOptions, subspacesOf } from './subspaces.js'

export interface AdamssOptions extends TargetOptions, SubspaceOptions, AllocationOptions {
  init_weights: 'orthogonal' | null
}

/** [W b] + S·[Bᵢ·Aᵢ]·V: a layer's outputs in groups that lie alike in its singular directions V, each with a low-rank update of its
 *  own, and a budget of groups (Zheng et al., NeurIPS 2025); options as HF PEFT's AdamssConfig. */
export default definePeftMethod<AdamssOptions>({
  name: 'adamss',
  apiVersion: 1,
  peftType: 'ADAMSS',
  family: 'low rank',
  summary: "low-rank updates of each weight's subspaces, kept where they matter",
  paper: 'https://openreview.net/forum?id=8ZdWmpYxT0',
  learningRate: 1e-2,
  mergeable: true,
  trainingOptions: ['init_weights', 'use_asa'],
  ownOptions: ['exclude_modules'],
  startsAsIdentity: ({ init_weights }) => init_weights === 'orthogonal',
  configSchema: targetedSchema({
    r: positive(100),
    num_subspaces: positive(5),
    subspace_rank: positive(1),
    init_weights: oneOf(['orthogonal', null], 'orthogonal'),
    use_asa: flag(false),
    asa_target_subspaces: positive(50),
    init_warmup: whole(50),
    final_warmup: { type: ['integer', 'null'], minimum: 1, default: null },
    mask_interval: positive(100),
    asa_importance_beta: share(0.85),
    asa_uncertainty_beta: share(0.85),
    asa_schedule_exponent: { type: 'number', exclusiveMinimum: 0, default: 3 },
    use_dynamic_rank: flag(false),
    svd_threshold: { ...real(0.1), minimum: 0 },
    random_seed: whole(0),
  }),
  attach(context, options) {
    const { model, g } = context
    const layers = targets(model, options).map((site) => layer(context, site, options))
    for (const { site, V, pairs, order } of layers)
      site.output.map((y, x) => {
        const inside = g.linear(site.bias ? g.concat([x, oneColumn(g, x)], -1) : x, V)
        const parts = pairs.map(({ A, B }) => g.linear(g.linear(inside, A), B))
        return g.add(y, g.gather(g.concat(parts, -1), order, -1))
      })
    return {
      merge: () =>
        layers.flatMap(({ site, V, pairs, order }) => {
          const rows = g.concat(
            pairs.map(({ A, B }) => g.matMul(B, A)),
            0,
          )
          const delta = g.matMul(g.gather(rows, order, 0), V)
          const { bias, inFeatures: n, outFeatures: m } = site
          const columns = (first: number, end: number) => g.slice(delta, first, end, 1)
          return [
            [site.weight, (w) => g.add(w, bias ? columns(0, n) : delta)] as const,
            ...(bias ? [[bias, (b: Value) => g.add(b, g.reshape(columns(n, n + 1), [m]))] as const] : []),
          ]
        }),
      ...(options.use_asa && !context.inference
        ? allocation(
            context,
            layers.flatMap(({ pairs }) => pairs),
            options,
          )
        : {}),
    }
  },
})

interface Layer {
  site: LinearSite
  /** [width, in] */
  V: Value
  pairs: Subspace[]
  /** where each output lies among those of the groups one after another */
  order: Value
}
function layer(context: AttachContext, site: LinearSite, options: AdamssOptions): Layer {
  const { g, param, buffer } = context
  const { path, inFeatures, bias } = site
  const { directions, width, ...found } = subspacesOf(site, options)
  const labels = width === site.outFeatures ? storedLabels(context, site, found.labels) : found.labels
  const groups = groupsOf(found.U, labels, options)
  const V = buffer(`${path}.adamss_newB`, {
    shape: [width, inFeatures + (bias ? 1 : 0)],
    init: () => directions,
    stored: 'F32',
  })
  const pairs = groups.map(({ outputs, rank, start }, i) => ({
    A: param(`${path}.adamss_A.${i}`, { shape: [rank, width], init: () => start }),
    B: param(`${path}.adamss_B.${i}`, {
      shape: [outputs.length, rank],
      init: options.init_weights ? zeros : normal(0.01),
    }),
  }))
  const places = new Map(groups.flatMap(({ outputs }) => outputs).map((output, at) => [output, at]))
  const order = g.ints(Array.from({ length: site.outFeatures }, (_, output) => places.get(output) as number))
  return { site, V, pairs, order }
}

/** 1 for every row of x. */
const oneColumn = (g: Builder, x: Value): Value => g.add(g.scale(g.slice(x, 0, 1, -1), 0), g.scalar(1))

/** Where all directions are kept, outputs lie equally far apart, and rounding decides on their groups: then the file says them. */
function storedLabels(
  { buffer, inference }: AttachContext,
  { path, outFeatures }: LinearSite,
  labels: readonly number[],
): number[] {
  const init = () => {
    if (!inference) return Float32Array.from(labels)
    throw new GraftError(
      'UNSUPPORTED_ADAPTER',
      `method adamss: r is no less than the ${outFeatures} outputs of ${path}, so that which of them go together is chance, and the adapter's file, which has no ${path}.adamss_groups, doesn't say. HF PEFT's files are read where r is less.`,
    )
  }
  return Array.from(numbersIn(buffer(`${path}.adamss_groups`, { shape: [outFeatures], init, stored: 'F32' })))
}
