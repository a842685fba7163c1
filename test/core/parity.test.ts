import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type CaseReport, verify, type VerifyOptions } from '@graft-peft/core/app'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { golden, hasGolden, root } from '../fixture.js'

const folders = (path: string): string[] =>
  existsSync(path)
    ? readdirSync(path, { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => join(path, e.name))
    : []

async function replay(folder: string, options?: VerifyOptions): Promise<CaseReport[]> {
  const reports: CaseReport[] = []
  for await (const report of verify(folder, defaultRegistry(), options)) reports.push(report)
  return reports
}
const notPassed = (reports: readonly CaseReport[]) => reports.filter((r) => r.status !== 'passed')

describe('parity with HF PEFT, on the models kept here', () => {
  for (const folder of [
    ...folders(join(root, 'test/golden')),
    ...folders(join(root, 'test/golden/architectures')),
  ].filter((f) => !/(architectures|gguf|models|packed)$/.test(f)))
    it(`${folder.slice(root.length)}: forward, gradients, ten steps, adapter and ranks`, async () => {
      const reports = await replay(folder)
      expect(reports.length).toBeGreaterThan(1)
      expect(notPassed(reports)).toEqual([])
    })
})

describe('with products in 8-bit integers, on the models kept here', () => {
  for (const folder of folders(join(root, 'test/golden/architectures')))
    it(`${folder.slice(root.length)}: the logits within a twentieth, the gradients in HF PEFT's direction`, async () => {
      const reports = await replay(folder, { precision: 'int8' })
      expect(reports.flatMap((r) => r.checks.map((c) => c.name)).sort()).toContain('direction')
      expect(notPassed(reports)).toEqual([])
      // Rounding shows: it is integers that were computed in.
      expect(reports[0].checks[0].difference).toBeGreaterThan(1e-4)
    })
})

describe.skipIf(!hasGolden)(
  'parity with HF PEFT, every method on six architectures from both exporters and from the Hugging Face folder',
  () => {
    for (const folder of folders(golden))
      it(`${folder.slice(golden.length + 1)}: every case`, async () => {
        const reports = await replay(folder)
        expect(new Set(reports.map((r) => r.export))).toEqual(new Set(['model', 'onnx', 'onnx-script']))
        expect(reports.length).toBeGreaterThanOrEqual(18)
        expect(notPassed(reports)).toEqual([])
      })
  },
)
