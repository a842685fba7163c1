import { keyValue } from '@graft-peft/core/inside'

/** A method's options as flags say them: a rank, modules, and further pairs, which come last. */
export const methodFlags = ({
  rank,
  targets,
  option,
}: {
  rank: number
  targets?: string
  option: readonly Record<string, unknown>[]
}): Record<string, unknown> => ({
  r: rank,
  ...(targets ? { target_modules: targets === 'all-linear' ? targets : targets.split(',') } : {}),
  ...Object.assign({}, ...option),
})

/** Collects key=value flags, values as YAML reads them. Throws BAD_OVERRIDE. */
export function optionPairs(
  text: string,
  before: readonly Record<string, unknown>[],
): Record<string, unknown>[] {
  const [key, value] = keyValue('Option', text, 'alpha=16')
  return [...before, { [key]: value }]
}
