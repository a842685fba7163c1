import { type AttachContext, numbersIn, type Value } from '@graft-peft/core'
import { inverse, Matrix } from 'ml-matrix'

/**
 * LoRA-FA (Zhang et al., 2023, arXiv 2308.03303): A stays what it starts from, and B's gradient is turned into the one whose step changes
 * s·B·A most like the whole weight's gradient would: g·(A·Aᵀ)⁻¹/s², as HF PEFT's create_lorafa_optimizer.
 *
 * @returns B as it is computed with: equal to B, its gradient so turned
 */
export function corrected({ g }: AttachContext, A: Value, B: Value, scale: number): Value {
  const [r, n] = A.shape as number[]
  const a = Matrix.from1DArray(r, n, [...numbersIn(A)])
  const gram = a.mmul(a.transpose()).add(Matrix.eye(r, r).mul(1e-8))
  const turn = g.constant(
    'float32',
    inverse(gram)
      .div(scale * scale)
      .to1DArray(),
    [r, r],
  )
  const still = g.stopGradient(B)
  return g.add(still, g.matMul(g.sub(B, still), turn))
}
