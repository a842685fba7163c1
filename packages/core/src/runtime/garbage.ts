import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
setFlagsFromString('--compact-on-every-full-gc')
const collect = runInNewContext('gc') as (options?: { type: 'minor' | 'major' }) => void

/**
 * Frees at once what nobody refers to any more: left to itself, V8 lets the vectors of past steps pile up to
 * tens of megabytes. `minor` looks at what is young alone and takes less than a millisecond.
 */
export const collectGarbage = (type: 'minor' | 'major'): void => collect({ type })
