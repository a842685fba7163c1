// Fetches files of an npm package, a pinned version, into node_modules/.cache: what a test or a trial needs and an installation doesn't.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

/**
 * The folder of the cache where `files` of a package lie, after `prepare(from, to)` made of them what is to be kept (else as they are).
 * Throws where the package can't be fetched.
 */
export function packed(spec, files, name, prepare) {
  const target = resolve(import.meta.dirname, '../node_modules/.cache', name)
  if (existsSync(target)) return target
  mkdirSync(join(target, '..'), { recursive: true })
  const work = mkdtempSync(`${target}-`)
  try {
    const archive = execFileSync('npm', ['pack', spec, '--silent', '--pack-destination', work], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
    }).trim()
    execFileSync('tar', ['xzf', archive, ...files.map((file) => `package/${file}`)], { cwd: work })
    const [from, to] = [join(work, 'package'), join(work, 'prepared')]
    if (prepare) {
      mkdirSync(to)
      prepare(from, to)
    }
    renameSync(prepare ? to : from, target)
    return target
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
