import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { programsOf } from './snippets.js'

const says: Record<string, RegExp> = {
  'train.ts': /12\/12 loss [\d.]+ .*accuracy [\d.]+ → [\d.]+, adapter in .*out\/code\/adapter/s,
  'predict.ts': /^\d+ of \d+ right$/m,
  'serve.ts': /^\{ prediction: '\w+', score: [\d.]+ \} after [\d.]+ ms\n2 more, of 12 classes$/m,
  'generate.ts': /^".+"\n.+/,
  'compare.ts': /lora: done.*ia3: done|ia3: done.*lora: done/s,
}

describe('docs/from-typescript.md', () => {
  const { folder, files } = programsOf('docs/from-typescript.md')
  const paths = files.map((file) => join(folder, file))

  it.each([
    ['NodeNext', ts.ModuleKind.NodeNext, ts.ModuleResolutionKind.NodeNext],
    ['Bundler', ts.ModuleKind.ESNext, ts.ModuleResolutionKind.Bundler],
  ])('its programs have right types under %s', (_, module, moduleResolution) => {
    const options = { module, moduleResolution, strict: true, noEmit: true, target: ts.ScriptTarget.ES2023 }
    const program = ts.createProgram(paths, { ...options, types: ['node'], skipLibCheck: true })
    const faults = ts.getPreEmitDiagnostics(program)
    expect(faults.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
  })

  it('has a program for each thing that it promises', () => {
    expect(files).toEqual(Object.keys(says))
  })

  it.each(files)('%s does what it says', (file) => {
    const script = join(folder, file.replace(/ts$/, 'js'))
    const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 }
    const source = readFileSync(join(folder, file), 'utf8')
    writeFileSync(script, ts.transpileModule(source, { compilerOptions: options }).outputText)
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], {
      cwd: folder,
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    expect(stdout).toMatch(says[file])
  })
})
