import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { diskError } from '@graft-peft/onnx'

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

/**
 * Makes a folder with those above it that are missing, and says which is the first that it made. Node's own way
 * calls a read-only disk a missing folder, and never returns where the system lets no folder be made (/proc).
 *
 * @throws errors of the disk in words.
 */
export function makeFolder(folder: string): string | undefined {
  if (isFolder(folder)) return undefined
  const above = dirname(folder)
  const first = above === folder ? undefined : makeFolder(above)
  try {
    mkdirSync(folder)
  } catch (cause) {
    // Another process may have made it meanwhile.
    if (isFolder(folder)) return first
    throw diskError(cause, folder)
  }
  return first ?? folder
}
