import {
  type Adapter,
  type AttachContext,
  type Builder,
  GraftError,
  ones,
  type Value,
  zeros,
} from '@graft-peft/core'

/** AdaMSS' budget: HF PEFT's names. */
export interface AllocationOptions {
  use_asa: boolean
  asa_target_subspaces: number
  init_warmup: number
  /** step at which the budget is down; half of the run when null */
  final_warmup: number | null
  mask_interval: number
  asa_importance_beta: number
  asa_uncertainty_beta: number
  asa_schedule_exponent: number
}
/** What is trained of one group of outputs: its update is B·A. */
export interface Subspace {
  A: Value
  B: Value
}

/** Fewer and fewer subspaces stay in training: the others keep the values they have (adaptive subspace allocation). */
export function allocation(
  context: AttachContext,
  subspaces: readonly Subspace[],
  options: AllocationOptions,
): Pick<Adapter, 'afterStep' | 'settled' | 'save'> {
  const { g, state, totalSteps } = context
  const end = options.final_warmup ?? Math.floor(totalSteps / 2)
  const { init_warmup, mask_interval, asa_target_subspaces: last, asa_schedule_exponent } = options
  if (init_warmup >= end || end >= totalSteps)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method adamss: init_warmup ${init_warmup} must be less than final_warmup ${end}, and that less than the run's ${totalSteps} steps: subspaces are let go between them.`,
    )
  const averages = subspaces.flatMap(({ A, B }, i) =>
    [A, B].map((p, k) =>
      ['importance', 'uncertainty'].map((n) =>
        state(`${n}_${i}_${k}`, { shape: p.shape as number[], init: zeros }),
      ),
    ),
  )
  const active = state('active', { shape: [subspaces.length], init: ones })
  return {
    save: () => ({ finish: () => ({ final_warmup: end }) }),
    settled: (step) => step - 1 >= Math.floor(end / mask_interval) * mask_interval,
    afterStep: {
      scalars(step) {
        const t = step - 1
        const within = t >= init_warmup && t <= end
        const left = (1 - (t - init_warmup) / (end - init_warmup)) ** asa_schedule_exponent
        const budget = within ? Math.trunc(last + (subspaces.length - last) * left) : subspaces.length
        return [Number(within), Number(within && t % mask_interval === 0), budget]
      },
      update({ gradient, updated, scalars: [counts, masks, budget] }) {
        const changed = new Map<Value, Value>()
        const counted = g.greater(counts, g.scalar(0))
        const masking = g.greater(masks, g.scalar(0))
        const scores = averages.map(([importance, uncertainty], i) => {
          const p = i % 2 === 0 ? subspaces[i / 2].A : subspaces[(i - 1) / 2].B
          const now = g.abs(g.mul(updated(p), gradient(p)))
          const mix = (old: Value, fresh: Value, beta: number) =>
            g.where(counted, g.add(g.scale(old, beta), g.scale(fresh, 1 - beta)), old)
          const doubt = mix(uncertainty, g.abs(g.sub(now, importance)), options.asa_uncertainty_beta)
          const mean = mix(importance, now, options.asa_importance_beta)
          // What was seen before a mask doesn't count after it.
          const fresh = (v: Value) => g.where(masking, g.scale(v, 0), v)
          changed.set(importance, fresh(mean))
          changed.set(uncertainty, fresh(doubt))
          return g.reshape(g.reduceMean(g.mul(mean, doubt), [0, 1], false), [1])
        })
        const both = subspaces.map((_, i) => g.add(scores[2 * i], scores[2 * i + 1]))
        changed.set(active, g.where(masking, above(g, g.concat(both, 0), active, budget), active))
        subspaces.forEach(({ A, B }, i) => {
          const trains = g.greater(g.slice(active, i, i + 1, 0), g.scalar(0))
          for (const p of [A, B]) changed.set(p, g.where(trains, updated(p), p))
        })
        return changed
      },
    },
  }
}

/** 1 where an active subspace's score is above the budget-th greatest of them, which itself goes, as in HF PEFT; all stay that are
 *  within the budget. */
function above(g: Builder, scores: Value, active: Value, budget: Value): Value {
  const among = g.where(g.greater(active, g.scalar(0)), scores, g.scalar(-1))
  const most = g.op('Min', [g.cast(budget, 'int64'), g.ints([scores.shape?.[0] as number])])
  const [greatest] = g.ops('TopK', [among, g.reshape(most, [1])], { axis: 0, largest: 1, sorted: 1 }, 2)
  const threshold = g.op('ReduceMin', [greatest], { keepdims: 0 })
  const enough = g.op('Not', [g.less(budget, g.sumAll(active))])
  const kept = g.op('Or', [g.greater(among, threshold), enough])
  return g.mul(active, g.cast(kept, 'float32'))
}
