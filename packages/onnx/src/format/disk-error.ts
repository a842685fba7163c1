import { GraftError } from '../graph/errors.js'

type Known = readonly [code: string, what: string, advice: string]
const room =
  'What was there before is untouched. Free some space, then try again (training goes on with --resume).'
/** What a system call's error means to whoever gave the path. */
const meanings: Readonly<Record<string, Known>> = {
  ENOSPC: ['DISK_FULL', 'no room left to write it', room],
  EDQUOT: ['DISK_FULL', 'no room left to write it', room],
  EFBIG: ['DISK_FULL', 'no room left to write it', room],
  EACCES: ['NO_PERMISSION', 'permission denied', 'Choose another place, or change who may read and write it.'],
  EPERM: ['NO_PERMISSION', 'permission denied', 'Choose another place, or change who may read and write it.'],
  EROFS: ['READ_ONLY', 'the disk is read-only', 'Choose a place that can be written.'],
  ENOENT: ['FILE_NOT_FOUND', 'no such file or folder', 'Was it removed meanwhile?'],
  ENOTDIR: ['NOT_A_FOLDER', 'a part of this path is a file', 'Choose a path below a folder.'],
  EEXIST: ['NOT_A_FOLDER', 'something else stands here', 'Choose another place.'],
  EISDIR: ['NOT_A_FILE', 'a folder, where a file is expected', 'Name a file.'],
  ENOTEMPTY: ['NOT_A_FILE', 'the folder is not empty', 'Choose another place.'],
  ENAMETOOLONG: ['BAD_PATH', 'the name is longer than the file system takes', 'Choose a shorter one.'],
  ELOOP: ['BAD_PATH', 'links that lead round in a circle', 'Mend them.'],
  EMFILE: ['TOO_MANY_FILES', 'this process may not open more files', 'Raise the limit (ulimit -n).'],
  ENFILE: ['TOO_MANY_FILES', 'the system has no more files to open', 'Close other programs.'],
  EBUSY: ['BUSY', 'in use by something else', 'Wait for it, or choose another place.'],
  ETXTBSY: ['BUSY', 'in use by something else', 'Wait for it, or choose another place.'],
  EIO: ['DISK_FAILED', 'the disk does not answer', 'Look at the system log.'],
  ESTALE: ['DISK_FAILED', 'the network disk lost this file', 'Try again.'],
  'null byte': ['BAD_PATH', 'a NUL character, which no name can hold', 'Correct the name.'],
  ENODEV: ['DISK_FAILED', 'the device is not there', 'Look at the system log.'],
} // biome-ignore format: a table

/** An error of the file system in words; any other error as it is. */
export function diskError(cause: unknown, path?: string): unknown {
  if (cause instanceof GraftError) return cause
  const { code: given = '', message, path: at, dest } = cause as NodeJS.ErrnoException & { dest?: string }
  const code = given === 'ERR_INVALID_ARG_VALUE' && message.includes('null bytes') ? 'null byte' : given
  const known = Object.hasOwn(meanings, code) ? meanings[code] : undefined
  if (!known || !(cause instanceof Error)) return cause
  const where = path ?? dest ?? at
  const [own, what, advice] = known
  return new GraftError(own, `${where ? `${where}: ` : ''}${what} (${code}). ${advice}`, { cause })
}
