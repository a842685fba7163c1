import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where what can be made again is kept: GRAFT_CACHE, or `graft` in the user's cache folder. */
export const cacheFolder = (): string =>
  process.env.GRAFT_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'graft')
