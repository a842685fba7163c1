/**
 * All that plugins and programs import, what is built in, and comparisons.
 *
 * @module graft-peft
 */

import { fileURLToPath } from 'node:url'

export * from '@graft-peft/core'
export * from '@graft-peft/core/app'
export { compare, loadComparison, summarise, writeReport } from '@graft-peft/compare'
export { defaultRegistry } from './builtins.js'
export { version } from './manifest.js'

/** The command's script, which a comparison starts each run with. */
export const graftScript = fileURLToPath(new URL('../bin/graft.js', import.meta.url))
