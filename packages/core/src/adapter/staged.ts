import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { randomBytes } from 'node:crypto'
import { makeFolder } from '../files/folders.js'

/** Makes a folder's files beside where they are to lie and moves them there once `write` is done; where it throws, nothing is left. */
export async function staged<T>(output: string, write: (folder: string) => Promise<T>): Promise<T> {
  const target = resolve(output)
  const made = makeFolder(dirname(target))
  const folder = `${target}.${process.pid}-${randomBytes(4).toString('hex')}.partial`
  mkdirSync(folder)
  try {
    const result = await write(folder)
    moveInto(folder, target)
    return result
  } catch (error) {
    if (made) rmSync(made, { recursive: true, force: true })
    throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function moveInto(folder: string, target: string): void {
  if (!existsSync(target)) return renameSync(folder, target)
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const to = join(target, relative(folder, entry.parentPath), entry.name)
    makeFolder(dirname(to))
    renameSync(join(entry.parentPath, entry.name), to)
  }
}
