/** The arrows between rooms (README, "The rooms"): what a package may import. */
const room = (name) => `^packages/${name}/`
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
      severity: 'error',
      from: { path: '/src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    doNotFollow: { path: '(node_modules|/dist/)' },
    exclude: { path: '/gen/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
}
