// Packs all that bench/gpu.mjs needs on a machine that reaches nothing, in pieces: node bench/gpu-pack.mjs --help
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const root = resolve(import.meta.dirname, '..')
const { values: flags } = parseArgs({
  options: {
    out: { type: 'string' },
    device: { type: 'string', default: 'cuda' },
    python: { type: 'string', default: 'python3' },
    golden: { type: 'string', default: join(root, 'test/golden') },
    piece: { type: 'string', default: '60' },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help || !flags.out) {
  console.log(`node bench/gpu-pack.mjs --out DIR [--device cuda|cpu] [--piece MIB] [--golden DIR] [--python PATH]

For this kind of machine (${process.platform} ${process.arch}): Node, Graft as it was built and committed, its dependencies, reference results and, for
cuda, ONNX Runtime's CUDA provider from the onnxruntime-gpu wheel. DIR gets piece-aa, piece-ab, … of at most MIB each (default 60) and
unpack.sh, which checks their sums, puts them together beside itself in graft/, and says how to go on.`)
  process.exit(flags.help ? 0 : 1)
}
const out = resolve(flags.out)
const run = (command, args, options = {}) =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 2 ** 30, ...options })
const sizeOf = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`

const staged = mkdtempSync(join(tmpdir(), 'graft-gpu-pack-'))
const graft = join(staged, 'graft')
try {
  console.log('files and dependencies …')
  stageFiles()
  if (flags.device === 'cuda') stageProvider()
  console.log('packing …')
  writePieces()
} finally {
  rmSync(staged, { recursive: true })
}

/** What is committed, what was built of it, Node itself, and what `npm ci` gives users. */
function stageFiles() {
  mkdirSync(graft)
  const archive = run(
    'git',
    ['archive', 'HEAD', 'package.json', 'package-lock.json', 'packages', 'examples', 'bench'],
    { cwd: root },
  )
  execFileSync('tar', ['-x', '-C', graft], { input: archive })
  for (const name of readdirSync(join(root, 'packages')))
    if (existsSync(join(root, 'packages', name, 'dist')))
      cpSync(join(root, 'packages', name, 'dist'), join(graft, 'packages', name, 'dist'), { recursive: true })
  cpSync(flags.golden, join(graft, 'golden'), { recursive: true })
  copyFileSync(process.execPath, join(graft, 'node'))
  run('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], {
    cwd: graft,
  })
  const runtimes = join(graft, 'node_modules/onnxruntime-node/bin/napi-v6')
  for (const platform of readdirSync(runtimes))
    for (const arch of readdirSync(join(runtimes, platform)))
      if (platform !== process.platform || arch !== process.arch)
        rmSync(join(runtimes, platform, arch), { recursive: true })
}

/** ONNX Runtime's CUDA provider, of the very version that Node's binding is. */
function stageProvider() {
  const binding = join(graft, 'node_modules/onnxruntime-node')
  const { version } = JSON.parse(readFileSync(join(binding, 'package.json'), 'utf8'))
  const wheels = join(staged, 'wheels')
  console.log(`onnxruntime-gpu ${version} …`)
  const wanted = ['--no-deps', '--only-binary=:all:', '--python-version', '3.12', '--implementation', 'cp']
  const platforms = ['28', '27', '17'].flatMap((n) => ['--platform', `manylinux_2_${n}_x86_64`])
  run(flags.python, [
    '-m',
    'pip',
    'download',
    '-q',
    '--disable-pip-version-check',
    ...wanted,
    ...platforms,
    '-d',
    wheels,
    `onnxruntime-gpu==${version}`,
  ])
  const [wheel] = readdirSync(wheels)
  const libraries = ['cuda', 'shared'].map((name) => `onnxruntime/capi/libonnxruntime_providers_${name}.so`)
  run(flags.python, [
    '-c',
    'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2], sys.argv[3:])',
    join(wheels, wheel),
    wheels,
    ...libraries,
  ])
  for (const library of libraries)
    cpSync(
      join(wheels, library),
      join(binding, 'bin/napi-v6', process.platform, process.arch, library.split('/').at(-1)),
    )
}

function writePieces() {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  execFileSync(
    'sh',
    [
      '-c',
      `tar -c -C "$1" graft | xz -T0 -2 | split -b ${Number(flags.piece)}M - "$2/piece-"`,
      'sh',
      staged,
      out,
    ],
    { stdio: 'inherit' },
  )
  const pieces = readdirSync(out)
  const sums = pieces.map(
    (name) =>
      `${createHash('sha256')
        .update(readFileSync(join(out, name)))
        .digest('hex')}  ${name}`,
  )
  writeFileSync(join(out, 'unpack.sh'), unpacking(sums), { mode: 0o755 })
  for (const name of pieces) console.log(`${name}: ${sizeOf(readFileSync(join(out, name)).length)}`)
}

function unpacking(sums) {
  return `#!/bin/sh
# Checks the pieces that lie beside this file and puts them together in graft/.
cd "$(dirname "$0")" || exit 1
sha256sum --quiet -c <<'END' || { echo 'A piece is missing or damaged: bring it again.' >&2; exit 1; }
${sums.join('\n')}
END
cat ${sums.map((line) => line.split('  ')[1]).join(' ')} | tar -xJ || exit 1
echo "Now: graft/node graft/bench/gpu.mjs --golden graft/golden --out results"
`
}
