import { homedir } from 'node:os'
import { join } from 'node:path'

/** A path with ~ in front, as a shell reads it: the home folder of whoever runs this. */
export const expandHome = (path: string): string =>
  path === '~' ? homedir() : /^~[/\\]/.test(path) ? join(homedir(), path.slice(2)) : path
