import { fullMatch } from './regular-expression.js'

/** A number overridden per module: keys match the end of a path, the first that matches wins (HF PEFT's get_pattern_key, which reads ^ as the path's beginning). */
export function byPattern(
  path: string,
  patterns: Readonly<Record<string, number>>,
  otherwise: number,
): number {
  const key = Object.keys(patterns).find((p) => fullMatch(`(?:.*\\.)?(?:${p})`, path))
  return key === undefined ? otherwise : patterns[key]
}
