/** The files of a new method's package, by path. Each is what an author would write, none longer than needed. */
export function methodPackage(name: string, version: string, model: string): Record<string, string> {
  const id = name.replace(/^@[^/]+\//, '').replace(/^graft-method-/, '')
  return {
    'package.json': `${JSON.stringify(manifest(name, version), null, 2)}\n`,
    'tsconfig.json': `${JSON.stringify(tsconfig, null, 2)}\n`,
    'src/index.ts': source(id),
    'test/index.test.js': test,
    'train.yaml': config(id, model),
    'data.jsonl': data,
    'README.md': readme(name, id),
    '.gitignore': 'node_modules\ndist\nout\n',
  }
}

const manifest = (name: string, version: string) => ({
  name,
  version: '0.1.0',
  type: 'module',
  license: 'Apache-2.0',
  keywords: ['graft-method'],
  exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
  files: ['dist'],
  scripts: {
    build: 'tsc',
    test: 'tsc && node --test test/*.test.js',
    train: 'tsc && graft train train.yaml --overwrite',
  },
  peerDependencies: { '@graft-peft/core': `^${version}` },
  devDependencies: {
    '@graft-peft/core': `^${version}`,
    '@graft-peft/method-tester': `^${version}`,
    'graft-peft': `^${version}`,
    typescript: '^6.0.3',
  },
})
const tsconfig = {
  compilerOptions: {
    target: 'es2022',
    module: 'nodenext',
    moduleResolution: 'nodenext',
    strict: true,
    declaration: true,
    skipLibCheck: true,
    rootDir: 'src',
    outDir: 'dist',
  },
  include: ['src'],
}

const source = (
  id: string,
) => `import { definePeftMethod, kaimingUniform, positive, real, type TargetOptions, targetedSchema, targets, zeros } from '@graft-peft/core'

export interface Options extends TargetOptions {
  r: number
  alpha: number
}

/** y + (alpha/r)·B·A·x: a low-rank update, here to be changed into your own method. */
export default definePeftMethod<Options>({
  name: '${id}',
  apiVersion: 1,
  peftType: '${id.toUpperCase().replaceAll('-', '_')}',
  summary: 'what it does, in a few words',
  mergeable: true,
  // Whether the untrained model equals the base: B starts at zero, so it does.
  startsAsIdentity: () => true,
  // Options, their types and defaults; target_modules and its kin come with targetedSchema.
  configSchema: targetedSchema({ r: positive(8), alpha: real(16) }),
  attach({ model, g, param }, options) {
    const scale = options.alpha / options.r
    const adapted = targets(model, options).map((site) => {
      const A = param(\`\${site.path}.A\`, { shape: [options.r, site.inFeatures], init: kaimingUniform })
      const B = param(\`\${site.path}.B\`, { shape: [site.outFeatures, options.r], init: zeros })
      // Replace the layer's output y by a function of itself and of the layer's input x. Gradients follow by themselves.
      site.output.map((y, x) => g.add(y, g.scale(g.linear(g.linear(x, A), B), scale)))
      return { site, A, B }
    })
    // The same in the weights, for graft merge. Leave it out, with mergeable: false, where there is no such form.
    return { merge: () => adapted.map(({ site, A, B }) => [site.weight, (w) => g.add(w, g.scale(g.matMul(B, A), scale))]) }
  },
})
`
const test = `import { describe, it } from 'node:test'
import { testMethod } from '@graft-peft/method-tester'
import method from '../dist/index.js'

testMethod({ describe, it }, method, {
  valid: [{ config: { r: 4, target_modules: 'all-linear' } }, { config: { r: 2, target_modules: ['q_proj', 'v_proj'] }, model: 'encoder' }],
  invalid: [{ config: { r: 0 }, error: /r: must be >= 1/ }, { config: { rank: 8 }, error: /unknown key rank/ }],
})
`
const config = (id: string, model: string) => `model: ${model} # a folder with an ONNX model and its tokenizer
plugins: [.] # this package
data:
  train: data.jsonl
method:
  name: ${id}
  target_modules: all-linear
training:
  epochs: 4
  batch_size: 8
  learning_rate: 2e-3
output: out
`
const questions = [
  'where is my parcel',
  'has it been sent',
  'when will it arrive',
  'is it on its way',
  'my card was declined',
  'the payment failed',
  'I was charged twice',
  'can I pay in cash',
]
const data = [...Array(48).keys()]
  .map(
    (i) =>
      `${JSON.stringify({ text: `${['', 'hello, ', 'please, ', 'tell me, ', 'excuse me, ', 'hi, '][i % 6]}${questions[i % 8]}`, label: i % 8 < 4 ? 'delivery' : 'payment' })}\n`,
  )
  .join('')

const readme = (name: string, id: string) => `# ${name}

The method \`${id}\` for [Graft](https://www.npmjs.com/package/graft).

    npm install ${name}

    plugins: [${name}]
    method: ${id}

\`npm test\` builds it and runs the conformance kit; \`npm run train\` trains it on the few lines of data.jsonl, once train.yaml
names a model.
`
