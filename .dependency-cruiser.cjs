/** What may import what (ARCHITECTURE.md): packages first, then the floors inside a package. */
const room = (name) => `^packages/${name}/`

/**
 * The floors of a package, lowest first: folders, and files that lie beside them. An import may only go down this list,
 * types included. What isn't listed has no floor and may import nothing; index.ts files stand above all.
 */
const floors = {
  onnx: ['graph', 'plan', 'format', 'gradients', 'lower', 'passes'],
  core: [
    'codes',
    'errors',
    'blame',
    'copy',
    'numbers',
    'files',
    'metric',
    'launch',
    'tracking',
    'optimizer',
    'runtime',
    'hub',
    'architecture',
    'model',
    'method',
    'data',
    'objective',
    'compile',
    'contract',
    'container',
    'plugins',
    'adapter',
    'step',
    'config',
    'use',
    'verify',
    'trainer',
    'export',
  ],
}
const src = (name, rooms) => `^packages/${name}/src/(${rooms.join('|')})([/]|[.]ts$)`

const floorRules = Object.entries(floors).flatMap(([name, rooms]) => [
  ...rooms.slice(0, -1).map((floor, i) => ({
    name: `${name}-${floor}-looks-up`,
    comment: `${floor} lies below ${rooms[i + 1]}: an import may only go down the floors of packages/${name}`,
    severity: 'error',
    from: { path: src(name, [floor]) },
    to: { path: src(name, rooms.slice(i + 1)) },
  })),
  {
    name: `${name}-has-no-floor-for-this`,
    comment: `each folder of packages/${name}/src has its place in the list of floors`,
    severity: 'error',
    from: {
      path: `^packages/${name}/src/(?!(${rooms.join('|')})([/]|[.]ts$)|[^/]*index[.]ts$|[a-z]+[.]ts$)`,
    },
    to: {},
  },
])

module.exports = {
  forbidden: [
    {
      name: 'onnx-stands-alone',
      comment: '@graft-peft/onnx knows nothing of PEFT',
      severity: 'error',
      from: { path: room('onnx') },
      to: { path: '^packages/(?!onnx/)' },
    },
    {
      name: 'core-names-no-method',
      comment: 'the core imports @graft-peft/onnx alone',
      severity: 'error',
      from: { path: room('core') },
      to: { path: '^packages/(?!core/|onnx/)' },
    },
    {
      name: 'methods-see-the-core',
      comment: 'a method imports the core alone',
      severity: 'error',
      from: { path: '^packages/(?!onnx/|core/|cli/|method-tester/)([^/]+)/' },
      to: { path: '^packages/(?!core/|$1/)' },
    },
    {
      name: 'tester-names-no-method',
      comment: 'the conformance kit knows no method',
      severity: 'error',
      from: { path: room('method-tester') },
      to: { path: '^packages/(?!core/|onnx/|method-tester/)' },
    },
    {
      name: 'report-reads-results',
      comment: 'a comparison runs without its report',
      severity: 'error',
      from: { path: '^packages/compare/src/(?!report/|index[.]ts)' },
      to: { path: '^packages/compare/src/report/' },
    },
    {
      name: 'commands-are-on-top',
      comment: 'what commands share knows no command',
      severity: 'error',
      from: { path: '^packages/cli/src/(?!commands/|main[.]ts)' },
      to: { path: '^packages/cli/src/commands/' },
    },
    {
      name: 'runtime-in-one-room',
      comment: 'only core/src/runtime imports ONNX Runtime',
      severity: 'error',
      from: { pathNot: '^packages/core/(src|dist)/runtime/' },
      to: { path: 'onnxruntime-node' },
    },
    {
      name: 'container-in-one-file',
      comment: 'only core/src/container.ts imports tsyringe',
      severity: 'error',
      from: { pathNot: '^packages/core/(src|dist)/container' },
      to: { path: 'tsyringe' },
    },
    {
      name: 'no-circles',
      comment: 'neither by values nor by types alone',
      severity: 'error',
      from: { path: '/src/' },
      to: { circular: true },
    },
    ...floorRules,
  ],
  options: {
    doNotFollow: { path: '(node_modules|/dist/)' },
    exclude: { path: '/gen/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'default'],
    },
  },
}
