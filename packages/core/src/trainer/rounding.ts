import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { readObject } from '../files/json.js'
import { type KeptPlan, keptPlan, planFrom } from '../compile/precision.js'
import type { TrainConfig } from '../config/config.js'
import { saturates } from '../runtime/integers.js'
import { type Errors, surveyRounding } from '../step/rounding.js'
import { Step } from '../step/step.js'
import type { SessionOptions } from '../runtime/session.js'

interface Plan {
  step: Step
  session: SessionOptions
}

/** What a run's folder keeps of how its products are rounded: a resumed run rounds the same. */
export type KeptRounding = KeptPlan & { errors: Errors }
export const roundingFile = 'int8.json'

/**
 * The plan with products rounded as its data bears it: looked at once a run, then as the run's folder says.
 * The plan itself where nothing is rounded.
 */
export async function roundedPlan<T extends Plan>(
  plan: T,
  { precision, output }: Pick<TrainConfig, 'precision' | 'output'>,
  resume = false,
): Promise<T & { rounding?: KeptRounding }> {
  if (precision !== 'int8') return plan
  const file = join(output, roundingFile)
  const kept =
    resume && existsSync(file) ? (readObject(file, 'BAD_ROUNDING') as unknown as KeptRounding) : undefined
  const rounding = kept ?? (await survey(plan))
  if (!kept) writeAtomically(file, `${JSON.stringify(rounding, null, 2)}\n`)
  const integers = planFrom(rounding, (await saturates()) ? 63 : 127)
  const { base, attaching, settings } = plan.step
  return { ...plan, step: Step.of(base, { ...attaching, integers }, settings), rounding }
}
async function survey({ step, session }: Plan): Promise<KeptRounding> {
  const { plan, errors } = await surveyRounding(step, session)
  return { ...keptPlan(plan), errors }
}

/** What was found, in a line for the user. */
export function roundingNotice({ errors, float32, smoothing }: KeptRounding): string {
  const all = Object.entries(errors)
  if (all.length === 0)
    return 'precision: int8 has nothing to do: no activations are multiplied with frozen weights here.'
  const rounded = all.filter(([name]) => !float32.includes(name)).sort(([, a], [, b]) => b - a)
  const percent = (error: number) => `${(100 * error).toFixed(1)} %`
  const worst =
    rounded.length > 0
      ? `, off by ${percent(rounded[rounded.length >> 1][1])} in the median and ${percent(rounded[0][1])} at most (${rounded[0][0]})`
      : ''
  const smooth = Object.keys(smoothing)
  return [
    `${rounded.length} of ${all.length} products with frozen weights run in 8-bit integers${worst}.`,
    ...(smooth.length > 0 ? [`Smoothed, for outliers in their activations: ${some(smooth)}.`] : []),
    ...(float32.length > 0
      ? [
          `Kept in float32, too far off: ${some(float32.map((name) => `${name} (${percent(errors[name])})`))}.`,
        ]
      : []),
  ].join(' ')
}
const shown = 6
const some = (names: readonly string[]): string =>
  `${names.length > shown ? `${names.length}, among them ` : ''}${names.slice(0, shown).join(', ')}`
