// What all packages have alike, written from one place: manifests, references of the compiler, READMEs, licences.
// A package's own package.json says its name, version, description, entries, and what it depends on; the rest is made here.
//   node scripts/packages.mjs           writes what differs
//   node scripts/packages.mjs --check   names what differs, and fails
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = new URL('..', import.meta.url)
const read = (path) => readFileSync(new URL(path, root), 'utf8')
const repository = 'https://github.com/graft-peft/graft'
const core = '@graft-peft/core'

const json = (value) => `${JSON.stringify(value, null, 2)}\n`
const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))

/** Every package: its folder, and its manifest as it is. */
const packages = readdirSync(new URL('packages', root))
  .filter((folder) => existsSync(new URL(`packages/${folder}/package.json`, root)))
  .map((folder) => ({ folder, manifest: JSON.parse(read(`packages/${folder}/package.json`)) }))
const sibling = (name) => packages.find(({ manifest }) => manifest.name === name)
/** Methods, architectures, trackers, launchers: whoever lets the program bring the core. */
const isPlugin = ({ manifest }) => core in (manifest.peerDependencies ?? {})
const isProgram = ({ manifest }) => 'bin' in manifest

/** A range that lets patches through, for packages of ours; exact versions of others stay as they are. */
const ranges = (dependencies = {}) =>
  sorted(
    Object.fromEntries(
      Object.entries(dependencies).map(([name, version]) => [
        name,
        sibling(name) ? `^${sibling(name).manifest.version}` : version,
      ]),
    ),
  )
/** The program brings the core and every plugin. */
const dependenciesOf = (pack) => ({
  ...pack.manifest.dependencies,
  ...(isProgram(pack) && Object.fromEntries(packages.filter(isPlugin).map((p) => [p.manifest.name, '']))),
})

const entry = (door) => {
  const file = door === '.' ? 'index' : door.slice(2)
  return { types: `./dist/${file}.d.ts`, default: `./dist/${file}.js` }
}
const doorsOf = ({ exports = { '.': '' } }) =>
  Object.keys(exports).filter((door) => door !== './package.json')

function manifestOf(pack) {
  const { manifest } = pack
  const { name, version, description, bin, files = [], keywords = [], ...others } = manifest
  const known = new Set(Object.keys(shared(pack)))
  const own = Object.keys(others).filter((key) => !known.has(key) && !key.endsWith('ependencies'))
  const dependencies = ranges(dependenciesOf(pack))
  return {
    name,
    version,
    description,
    keywords: [
      ...new Set(['onnx', 'peft', 'fine-tuning', ...(isPlugin(pack) ? ['graft-plugin'] : []), ...keywords]),
    ],
    ...shared(pack),
    ...(bin && { bin }),
    exports: {
      ...Object.fromEntries(doorsOf(manifest).map((door) => [door, entry(door)])),
      './package.json': './package.json',
    },
    files: [...new Set(['dist', 'src', ...files])],
    ...Object.fromEntries(own.map((key) => [key, manifest[key]])),
    ...(Object.keys(dependencies).length > 0 && { dependencies }),
    ...(manifest.peerDependencies && { peerDependencies: ranges(manifest.peerDependencies) }),
    ...(manifest.optionalDependencies && { optionalDependencies: ranges(manifest.optionalDependencies) }),
  }
}
const shared = ({ folder }) => ({
  homepage: `${repository}#readme`,
  bugs: `${repository}/issues`,
  repository: { type: 'git', url: `git+${repository}.git`, directory: `packages/${folder}` },
  license: 'Apache-2.0',
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20.19' },
  publishConfig: { access: 'public' },
  exports: undefined,
})

/** Folders of our packages that one is compiled against. */
const referencesOf = (pack) =>
  Object.keys({ ...dependenciesOf(pack), ...pack.manifest.peerDependencies })
    .filter(sibling)
    .map((name) => sibling(name).folder)
    .sort()

const list = (paths, indent) => {
  const items = paths.map((path) => `{ "path": "${path}" }`)
  const line = `[${items.join(', ')}]`
  return line.length <= 90 ? line : `[\n${items.map((i) => `${indent}  ${i}`).join(',\n')}\n${indent}]`
}
function compilerOf(pack) {
  const references = referencesOf(pack)
  return `{
  "extends": "../../tsconfig.base.json",
  "compilerOptions": { "rootDir": "src", "outDir": "dist" },
  "include": ["src"]${
    references.length > 0
      ? `,\n  "references": ${list(
          references.map((f) => `../${f}`),
          '  ',
        )}`
      : ''
  }
}
`
}

const starts = {
  program: ({ name }) => `\`\`\`sh
npx ${name} train config.yaml
\`\`\`

The [start in five minutes](${repository}#start) needs an empty folder and nothing else. From TypeScript:
[train, predict and compare from code](${repository}/blob/main/docs/from-typescript.md).`,
  plugin: ({ name }) => `It comes with \`graft-peft\`. Alone, beside the core:

\`\`\`sh
npm install ${core} ${name}
\`\`\`

A config that another program of yours reads names it under \`plugins: ['${name}']\`.`,
  library: ({ name }) => `\`\`\`sh
npm install ${name}
\`\`\``,
}
function readmeOf(pack) {
  const { name, description } = pack.manifest
  const start = isProgram(pack) ? starts.program : isPlugin(pack) ? starts.plugin : starts.library
  return `# ${name}

${description}

${start(pack.manifest)}

Part of [Graft](${repository}): parameter-efficient fine-tuning of ONNX and Hugging Face models from TypeScript,
on stock ONNX Runtime. Node 20.19 or newer. Apache-2.0.
`
}

/** Every file that is made, with what it should hold. */
export function madeFiles() {
  const files = { 'tsconfig.json': rootCompiler() }
  for (const pack of packages) {
    if (!pack.manifest.description)
      throw new Error(`packages/${pack.folder}/package.json: description is missing.`)
    const at = `packages/${pack.folder}`
    files[`${at}/package.json`] = json(manifestOf(pack))
    files[`${at}/tsconfig.json`] = compilerOf(pack)
    files[`${at}/README.md`] = readmeOf(pack)
    files[`${at}/LICENSE`] = read('LICENSE')
  }
  return files
}
const rootCompiler = () => `{
  "files": [],
  "references": ${list(
    packages.map(({ folder }) => `packages/${folder}`),
    '  ',
  )}
}
`

/** Files that aren't as they are made. */
export const differing = () =>
  Object.entries(madeFiles()).filter(
    ([path, text]) => !existsSync(new URL(path, root)) || read(path) !== text,
  )

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const check = process.argv.includes('--check')
  const files = differing()
  for (const [path, text] of files) {
    if (!check) writeFileSync(new URL(path, root), text)
    console.log(`${check ? 'differs' : 'written'}: ${path}`)
  }
  if (check && files.length > 0) {
    console.error(`Run: node ${fileURLToPath(import.meta.url)}`)
    process.exitCode = 1
  }
}
