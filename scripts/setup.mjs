// Brings a fresh clone to where everything runs: dependencies as the lock file has them, then a build. Quick when nothing changed.
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19))
  fail(`Graft needs Node 20.19 or newer; this is ${process.versions.node}.`)

const installed = 'node_modules/.package-lock.json'
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync('package-lock.json').mtimeMs) {
  console.error('Installing dependencies …')
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
}
run(process.execPath, ['node_modules/typescript/bin/tsc', '-b'])

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) fail(`${command} ${args.join(' ')} failed; what it said stands above.`)
}
function fail(message) {
  console.error(message)
  process.exit(1)
}
