import { type Builder, GraftError, type Initialiser, uniform, type Value } from '@graft-peft/core'
import type { LoraOptions } from './options.js'

/** Which factor of a module's update is block-diagonal (BD-LoRA), if any. Throws BAD_METHOD_OPTION. */
export function blockedFactor(path: string, { use_bdlora }: LoraOptions): 'A' | 'B' | undefined {
  if (!use_bdlora) return undefined
  const matches = (names: readonly string[] | null) => names?.some((name) => path.includes(name)) ?? false
  const [a, b] = [matches(use_bdlora.target_modules_bd_a), matches(use_bdlora.target_modules_bd_b)]
  const bad = (why: string) => new GraftError('BAD_METHOD_OPTION', `method lora: use_bdlora: ${path} ${why}`)
  if (a && b) throw bad('is among target_modules_bd_a and target_modules_bd_b. Name it in one.')
  if (!a && !b && use_bdlora.match_strict)
    throw bad(
      'is in neither target_modules_bd_a nor target_modules_bd_b. Name it, or set match_strict: false.',
    )
  return a ? 'A' : b ? 'B' : undefined
}

/** Throws BAD_METHOD_OPTION for a matrix that doesn't part into so many blocks. */
export function blockShape(path: string, [rows, columns]: readonly number[], blocks: number): number[] {
  if (rows % blocks !== 0 || columns % blocks !== 0)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method lora: use_bdlora: nblocks ${blocks} must divide both sizes of the factor of ${path}, [${rows}, ${columns}].`,
    )
  return [rows, columns / blocks]
}

/** torch's kaiming_uniform_ as it comes. */
export const blockStart: Initialiser = (shape, random) => uniform(Math.sqrt(6 / shape[1]))(shape, random)

/** Blocks [rows, columns/blocks], one below the other, as the matrix [rows, columns] whose diagonal they are. */
export function blockDiagonal(g: Builder, stacked: Value, blocks: number): Value {
  if (blocks === 1) return stacked
  const [rows, each] = stacked.shape as number[]
  const columns = each * blocks
  const own = Array.from({ length: rows * columns }, (_, k) => {
    const [i, j] = [Math.floor(k / columns), k % columns]
    return Number(Math.floor(i / (rows / blocks)) === Math.floor(j / each))
  })
  return g.mul(g.concat(Array(blocks).fill(stacked), 1), g.constant('float32', own, [rows, columns]))
}
