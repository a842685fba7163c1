// What a release would publish, tried as a stranger meets it: every package packed and linted, the tarballs installed into an
// empty folder outside this one by the steps of the Dockerfile, a config trained, programs and a plugin type-checked and run.
//   node scripts/tarballs.mjs [folder for the tarballs]
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
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
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { buildImage } from './image.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'graft-tarballs-'))
const wanted = process.argv[2]
const compiler = join(root, 'node_modules/typescript/bin/tsc')
const started = performance.now()
const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} in ${cwd} failed:\n${stdout}\n${stderr}`)
  return stdout
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

/** An example beside what is installed, in a folder of modules. */
function copyExample(project) {
  run('npm', ['pkg', 'set', 'type=module'], project)
  cpSync(join(root, 'examples/support-intents'), project, {
    recursive: true,
    filter: (path) => !/support-intents.(out|README)/.test(path),
  })
}

const shortly = ['training.max_steps=2', 'data.validation=0.02', '--json']
/** Trains by the command as it was installed. Returns seconds from its start to the end of the first step. */
async function train(project) {
  const began = performance.now()
  const child = spawn(
    'npx',
    ['--no-install', 'graft', 'train', 'config.yaml', 'output=out/npx', ...shortly],
    {
      cwd: project,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const ended = once(child, 'close')
  let first
  for await (const line of createInterface({ input: child.stdout }))
    if (JSON.parse(line).event === 'step') first ??= (performance.now() - began) / 1000
  const [status] = await ended
  if (status !== 0 || first === undefined) throw new Error('npx graft train did not take a step')
  return first
}

/** What the image starts with, in the folder it starts in: its default command, a page, predictions of what was trained. */
function enter({ at, entry, command }, project) {
  const start = (...args) => run(entry[0], [...entry.slice(1), ...args], at)
  if (!/^ +train /m.test(start(...command))) throw new Error(`graft ${command.join(' ')} names no train`)
  if (!start('methods', 'lora').includes('lora_alpha')) throw new Error('graft methods lora has no page')
  const asked = join(project, 'asked.jsonl')
  writeFileSync(asked, '{"text": "has my card been sent?"}\n')
  return JSON.parse(start('predict', join(project, 'out/npx/adapter'), asked)).prediction
}

/** Trains under another Node, where the registry has one for this machine. */
function trainElsewhere(project, major) {
  const folder = join(work, `node-${major}`)
  const name = `node-${process.platform}-${process.arch}`
  mkdirSync(folder)
  const quiet = ['--no-audit', '--no-fund', '--no-save', '--prefer-offline', '--ignore-scripts']
  const got = spawnSync('npm', ['install', '--prefix', folder, ...quiet, `${name}@${major}`], {
    encoding: 'utf8',
  })
  if (got.status !== 0) return `skipped: the registry gave no ${name}@${major}`
  const node = join(folder, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  const version = run(node, ['--version'], project).trim()
  const script = 'node_modules/graft-peft/bin/graft.js'
  const lines = run(node, [script, 'train', 'config.yaml', `output=out/${version}`, ...shortly], project)
  return `${version}: loss ${JSON.parse(lines.split('\n').find((l) => l.includes('"event":"step"'))).loss}`
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
  const { build, last } = buildImage(root, join(work, 'image'))
  console.log(
    `packed and installed as the Dockerfile says, ${last.seconds.toFixed(1)} s for the installation (${seconds()})`,
  )
  const tarballs = join(build.root, 'tarballs')
  const files = readdirSync(tarballs).map((file) => join(tarballs, file))
  for (const file of files) console.log(`${file.split('/').at(-1)} ${kilobytes(statSync(file).size)}`)
  const faults = (await Promise.all(files.map(faultsOf))).flat()
  if (faults.length > 0) throw new Error(faults.join('\n'))
  console.log(`${files.length} packages, publint and are-the-types-wrong have nothing to say (${seconds()})`)
  const project = join(last.root, 'graft')
  copyExample(project)
  console.log(`installed: ${folderSize(join(project, 'node_modules'))} MB (${seconds()})`)
  const first = await train(project)
  console.log(`from npm install to the first step: ${(last.seconds + first).toFixed(1)} s (${seconds()})`)
  console.log(
    `the image's entry point: help, a page, and the prediction "${enter(last, project)}" (${seconds()})`,
  )
  const other = process.versions.node.startsWith('22.') ? 20 : 22
  console.log(`Node ${other}, ${trainElsewhere(project, other)} (${seconds()})`)
  for (const line of programs(project)) console.log(`from TypeScript: ${line} (${seconds()})`)
  console.log(`a plugin's own ${plugin(project)} tests pass, and it trains (${seconds()})`)
  if (wanted) cpSync(tarballs, resolve(wanted), { recursive: true })
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
} finally {
  rmSync(work, { recursive: true, force: true })
}
