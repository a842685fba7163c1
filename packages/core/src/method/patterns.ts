import { fullMatch } from './targets.js'

/** A number overridden per module: keys match the end of a path, the first that matches wins (HF PEFT's get_pattern_key). */
export function byPattern(
  path: string,
  patterns: Readonly<Record<string, number>>,
  otherwise: number,
): number {
  const key = Object.keys(patterns).find((p) => fullMatch(`(?:.*\\.)?(?:${p.replace(/^\^/, '')})`, path))
  return key === undefined ? otherwise : patterns[key]
}
