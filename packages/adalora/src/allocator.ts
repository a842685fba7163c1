import {
  type Adapter,
  type AfterStep,
  type AttachContext,
  type Builder,
  fileKey,
  GraftError,
  ones,
  type StoredTensor,
  storedFloats,
  floatsOf,
  type Value,
  zeros,
  type LinearSite,
} from '@graft-peft/core'
import type { AdaLoraOptions } from './options.js'

type Schedule = AdaLoraOptions & { total_step: number }

/** What AdaLoRA does beyond its forward pass: the orthogonality penalty, the importance of each singular value, and the budget's mask. */
export function allocator(
  context: AttachContext,
  triplets: readonly Triplet[],
  options: Schedule,
): Pick<Adapter, 'penalty' | 'afterStep' | 'settled' | 'save'> {
  const { total_step, tinit, tfinal } = options
  if (tinit + tfinal >= total_step)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method adalora: tinit ${tinit} + tfinal ${tfinal} must be less than the run's ${total_step} steps: ranks are allotted between them.`,
    )
  return {
    penalty: penalty(context.g, triplets, options),
    afterStep: allotment(context, triplets, options),
    // Before the budget is reached, singular values come back between two masks.
    settled: (t) => t - 1 >= Math.min(total_step - tfinal, total_step - 1),
    save: () => ({ finish: (tensors) => ({ rank_pattern: cut(triplets, tensors), total_step }) }),
  }
}
const keyOf = (path: string, name: string): string => fileKey({ name: `${path}.lora_${name}` })

/** orth_reg_weight · mean over all A and B of ‖P·Pᵀ − I‖, the norm not squared (HF PEFT's AdaLoraModel.forward). */
function penalty(g: Builder, triplets: readonly Triplet[], { orth_reg_weight, init_r: r }: Schedule): Value {
  const distance = (gram: Value) => g.sqrt(g.sumAll(g.square(g.sub(gram, g.identity(r)))))
  const norms = triplets.flatMap(({ A, B }) => [
    distance(g.matMul(A, A, { transB: true })),
    distance(g.matMul(B, B, { transA: true })),
  ])
  return g.scale(norms.reduce(g.add), orth_reg_weight / norms.length)
}

/** Singular values that stay after step t = 0, 1, …: all, then down along a cubic to target_r per layer. */
function budget(
  t: number,
  layers: number,
  { init_r, target_r, tinit, tfinal, total_step }: Schedule,
): number {
  const [first, last] = [init_r * layers, target_r * layers]
  if (t <= tinit) return first
  if (t >= total_step - tfinal) return last
  return Math.floor((first - last) * (1 - (t - tinit) / (total_step - tfinal - tinit)) ** 3 + last)
}

/** The budget in the compiled step. Fed: whether to update importances, to mask anew, to keep the last mask, and how many values go. */
function allotment({ g, state }: AttachContext, triplets: readonly Triplet[], options: Schedule): AfterStep {
  const { beta1, beta2, init_r, tinit, tfinal, deltaT, total_step } = options
  const all = triplets.flatMap(({ A, B, E }) => [A, B, E])
  const averages = all.map((p, i) =>
    ['sensitivity', 'uncertainty'].map((n) =>
      state(`${n}_${i}`, { shape: p.shape as number[], init: zeros }),
    ),
  )
  const kept = state('kept', { shape: [triplets.length * init_r], init: ones })
  return {
    scalars(step) {
      const t = step - 1
      const end = total_step - tfinal
      const remaining = budget(t, triplets.length, options)
      const masks = t === end || (t > tinit && t < end && t % deltaT === 0)
      return [Number(t < end), Number(masks), Number(t > end), triplets.length * init_r - remaining]
    },
    update({ gradient, updated, scalars: [updates, masks, holds, pruned] }) {
      const changed = new Map<Value, Value>()
      const scores = all.map((p, i) => {
        const [sensitivity, uncertainty] = averages[i]
        const now = g.abs(g.mul(updated(p), gradient(p)))
        const mean = g.add(g.scale(sensitivity, beta1), g.scale(now, 1 - beta1))
        const spread = g.add(g.scale(uncertainty, beta2), g.scale(g.abs(g.sub(now, mean)), 1 - beta2))
        const choose = (next: Value, held: Value) => g.where(g.greater(updates, g.scalar(0)), next, held)
        const [chosenMean, chosenSpread] = [choose(mean, sensitivity), choose(spread, uncertainty)]
        changed.set(sensitivity, chosenMean)
        changed.set(uncertainty, chosenSpread)
        return g.mul(chosenMean, chosenSpread)
      })
      const importance = g.concat(
        triplets.map((_, i) => tripletScore(g, scores.slice(3 * i, 3 * i + 3), init_r)),
        0,
      )
      const mask = g.where(g.greater(masks, g.scalar(0)), above(g, importance, pruned), kept)
      changed.set(kept, mask)
      const active = g.where(g.greater(g.add(masks, holds), g.scalar(0)), mask, g.scalar(1))
      triplets.forEach(({ E }, i) =>
        changed.set(
          E,
          g.mul(updated(E), g.reshape(g.slice(active, i * init_r, (i + 1) * init_r, 0), [init_r, 1])),
        ),
      )
      return changed
    },
  }
}

/** S = s(E) + mean s(A's row) + mean s(B's column), per singular value (equation 7). */
function tripletScore(g: Builder, [a, b, e]: readonly Value[], r: number): Value {
  return g.add(g.reshape(e, [r]), g.add(g.reduceMean(a, [1], false), g.reduceMean(b, [0], false)))
}

/** 1 where a score is above the k-th smallest, 0 elsewhere; all 1 for k = 0, where HF PEFT fails. */
function above(g: Builder, scores: Value, pruned: Value): Value {
  const count = g.cast(pruned, 'int64')
  const [smallest] = g.ops(
    'TopK',
    [scores, g.op('Max', [count, g.ints([1])])],
    { axis: 0, largest: 0, sorted: 1 },
    2,
  )
  const threshold = g.op('ReduceMax', [smallest], { keepdims: 0 })
  const none = g.less(pruned, g.scalar(0.5))
  return g.cast(g.op('Or', [g.greater(scores, threshold), none]), 'float32')
}

/** Cuts each layer's tensors to the rows in use; returns HF PEFT's rank_pattern. */
function cut(triplets: readonly Triplet[], tensors: Map<string, StoredTensor>): Record<string, boolean[]> {
  const pattern: Record<string, boolean[]> = {}
  for (const { site } of triplets) {
    const [a, b, e] = ['A', 'B', 'E'].map((n) => tensors.get(keyOf(site.path, n)) as StoredTensor)
    const kept = Array.from(floatsOf(e, site.path), (v) => v !== 0)
    const rows = kept.flatMap((k, i) => (k ? [i] : []))
    const [n, m, r] = [a.shape[1], b.shape[0], kept.length]
    const [flatA, flatB, flatE] = [a, b, e].map((t) => floatsOf(t, site.path))
    tensors.set(
      keyOf(site.path, 'A'),
      storedFloats(Float32Array.from(rows.flatMap((i) => [...flatA.subarray(i * n, (i + 1) * n)])), [
        rows.length,
        n,
      ]),
    )
    tensors.set(
      keyOf(site.path, 'B'),
      storedFloats(
        Float32Array.from(Array.from({ length: m }, (_, o) => rows.map((i) => flatB[o * r + i])).flat()),
        [m, rows.length],
      ),
    )
    tensors.set(
      keyOf(site.path, 'E'),
      storedFloats(Float32Array.from(rows.map((i) => flatE[i])), [rows.length, 1]),
    )
    pattern[`${site.path}.lora_E`] = kept
  }
  return pattern
}

/** One adapted layer: ΔW = (α/init_r)·B·diag(E)·A. */
export interface Triplet {
  site: LinearSite
  A: Value
  B: Value
  E: Value
}
