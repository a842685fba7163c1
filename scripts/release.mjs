// One command for a release: all packages get one version, what is made from them is made anew, and the tarballs are tried.
//   npm run release -- 0.1.1              ends before anything leaves this machine: the tarballs lie in out/release
//   npm run release -- 0.1.1 --publish    publishes them, commits and tags
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [version, flag] = process.argv.slice(2)
const folder = join(root, 'out/release')

function run(command, ...args) {
  console.log(`> ${command} ${args.join(' ')}`)
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) fail(`${command} ${args.join(' ')} failed; what it said stands above.`)
}
function fail(message) {
  console.error(message)
  process.exit(1)
}

if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version ?? '')) fail('Say which version: npm run release -- 0.1.1')
if (spawnSync('git', ['status', '--porcelain'], { cwd: root, encoding: 'utf8' }).stdout)
  fail('The tree is not clean: a release is what is committed. Commit or put aside first.')
if (!readFileSync(join(root, 'CHANGELOG.md'), 'utf8').includes(`## ${version}`))
  fail(`CHANGELOG.md has no section "## ${version}". Say there what changed.`)

for (const name of readdirSync(join(root, 'packages'))) {
  const path = join(root, 'packages', name, 'package.json')
  writeFileSync(path, `${JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), version }, null, 2)}\n`)
}
run('node', 'scripts/packages.mjs')
run('node', 'scripts/errors.mjs')
run('npm', 'install', '--package-lock-only', '--no-audit', '--no-fund')
run('npx', 'tsc', '-b')
run('npm', 'run', 'api')
rmSync(folder, { recursive: true, force: true })
run('node', 'scripts/tarballs.mjs', folder)
if (flag === '--publish') {
  for (const file of readdirSync(folder)) run('npm', 'publish', join(folder, file), '--access', 'public')
  run('git', 'commit', '--all', '--message', version)
  run('git', 'tag', `v${version}`)
} else console.log(`Tried, not published: ${folder}. git checkout . puts the versions back.`)
