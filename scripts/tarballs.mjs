// What a release would publish, tried as a stranger meets it: every package packed and linted, the tarballs installed into an
// empty project outside this folder, a config trained, programs and a plugin type-checked and run.
//   node scripts/tarballs.mjs [folder for the tarballs]
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'graft-tarballs-'))
const tarballs = resolve(process.argv[2] ?? join(work, 'tarballs'))
const compiler = join(root, 'node_modules/typescript/bin/tsc')
const started = performance.now()
const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} in ${cwd} failed:\n${stdout}\n${stderr}`)
  return stdout
}

function pack() {
  mkdirSync(tarballs, { recursive: true })
  run('npm', ['pack', '--workspaces', '--silent', '--pack-destination', tarballs], root)
  return readdirSync(tarballs)
    .filter((file) => file.endsWith('.tgz'))
    .map((file) => join(tarballs, file))
}

/** Problems of one tarball: what publint says, and types that a resolution finds wrong. Only ES modules are promised. */
async function faultsOf(file) {
  const data = readFileSync(file)
  const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
  const { messages, pkg } = await publint({ pack: { tarball: buffer }, strict: true })
  const { problems = [] } = await checkPackage(createPackageFromTarballData(data))
  const promised = problems.filter(
    ({ kind, resolutionKind }) => kind !== 'CJSResolvesToESM' && !/^node10$|cjs/.test(resolutionKind ?? ''),
  )
  return [
    ...messages.map((message) => formatMessage(message, pkg)),
    ...promised.map((problem) => `${problem.kind} ${JSON.stringify(problem)}`),
  ].map((fault) => `${file}: ${fault}`)
}

/** The tarballs, and nothing of this repository. Install scripts are left out: the only one fetches CUDA's libraries. */
function install(files) {
  const project = join(work, 'project')
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', '--loglevel=error']
  run('npm', ['install', ...quiet, ...files], project)
  cpSync(join(root, 'examples/support-intents'), project, {
    recursive: true,
    filter: (path) => !/support-intents.(out|README)/.test(path),
  })
  return project
}

function train(project) {
  const began = performance.now()
  const shortened = ['training.max_steps=6', 'output=out/npx', '--json']
  const lines = run('npx', ['--no-install', 'graft', 'train', 'config.yaml', ...shortened], project)
  const events = lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  if (!events.at(-1).finished) throw new Error(`graft train did not finish: ${lines}`)
  return ((performance.now() - began) / 1000).toFixed(1)
}

/** Type-checks files against what is installed, our declarations too, as Node and as a bundler resolve it. ONNX Runtime's need the DOM's. */
function check(project, files) {
  for (const [module, resolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])
    run(
      process.execPath,
      [
        compiler,
        '--noEmit',
        '--strict',
        '--target',
        'es2023',
        '--lib',
        'es2023,dom',
        '--module',
        module,
        '--moduleResolution',
        resolution,
        '--types',
        'node',
        '--typeRoots',
        join(root, 'node_modules/@types'),
        ...files,
      ],
      project,
    )
}

/** The first two programs of docs/from-typescript.md: one trains, one predicts. */
function programs(project) {
  const page = readFileSync(join(root, 'docs/from-typescript.md'), 'utf8')
  const found = [...page.matchAll(/^```ts file=((?:train|predict)\.ts)\n([\s\S]*?)^```$/gm)]
  for (const [, file, text] of found) writeFileSync(join(project, file), text)
  const files = found.map(([, file]) => file)
  if (files.length !== 2) throw new Error('docs/from-typescript.md: train.ts and predict.ts are not there')
  check(project, files)
  const out = [
    '--outDir',
    '.',
    '--lib',
    'es2023,dom',
    '--target',
    'es2023',
    '--module',
    'esnext',
    '--moduleResolution',
    'bundler',
  ]
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
  run(process.execPath, [compiler, ...out, ...types, '--strict', ...files], project)
  return files.map((file) =>
    run(process.execPath, [file.replace('.ts', '.js')], project)
      .trim()
      .split('\n')
      .at(-1),
  )
}

/** A method as `graft new method` writes it: types, its tests with the conformance kit, and a run. */
function plugin(project) {
  run(
    'npx',
    [
      '--no-install',
      'graft',
      'new',
      'method',
      'graft-method-mine',
      '--dir',
      'mine',
      '--model',
      join(project, 'model'),
    ],
    project,
  )
  const folder = join(project, 'mine')
  check(project, ['mine/src/index.ts'])
  run(process.execPath, [compiler, '-p', folder], project)
  const tests = run(process.execPath, ['--test', 'test/index.test.js'], folder)
  run('npx', ['--no-install', 'graft', 'train', 'train.yaml', 'training.max_steps=2', '--json'], folder)
  return tests.match(/# pass (\d+)/)?.[1]
}

const kilobytes = (bytes) => `${Math.round(bytes / 1000)} kB`
const folderSize = (folder) => execFileSync('du', ['-sm', folder], { encoding: 'utf8' }).split('\t')[0]

try {
  const files = pack()
  for (const file of files) console.log(`${file.split('/').at(-1)} ${kilobytes(statSync(file).size)}`)
  const faults = (await Promise.all(files.map(faultsOf))).flat()
  if (faults.length > 0) throw new Error(faults.join('\n'))
  console.log(`${files.length} packages, publint and are-the-types-wrong have nothing to say (${seconds()})`)
  const project = install(files)
  console.log(`installed: ${folderSize(join(project, 'node_modules'))} MB (${seconds()})`)
  console.log(`npx graft train: ${train(project)} s (${seconds()})`)
  for (const line of programs(project)) console.log(`from TypeScript: ${line} (${seconds()})`)
  console.log(`a plugin's own ${plugin(project)} tests pass, and it trains (${seconds()})`)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
} finally {
  rmSync(work, { recursive: true, force: true })
}
