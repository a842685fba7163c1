import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type CaseReport, verify } from '@graft/core'
import { defaultRegistry } from 'graft'
import { describe, expect, it } from 'vitest'
import { golden, hasGolden } from '../fixture.js'

const architectures = hasGolden
  ? readdirSync(golden, { withFileTypes: true })
      .filter((e) => e.isDirectory())
      .map((e) => e.name)
  : []

describe.skipIf(!hasGolden)('parity with HF PEFT', () => {
  for (const architecture of architectures)
    it(`${architecture}: forward, gradients, ten steps and adapter, from both exporters`, async () => {
      const reports: CaseReport[] = []
      for await (const report of verify(join(golden, architecture), defaultRegistry())) reports.push(report)
      expect(reports.filter((r) => r.status === 'failed')).toEqual([])
      const passed = reports.filter((r) => r.status === 'passed').map((r) => `${r.export} ${r.case}`)
      expect(passed).toEqual(expect.arrayContaining(['onnx', 'onnx-script'].flatMap((e) => ['forward', 'lora', 'lora-all-linear'].map((c) => `${e} ${c}`))))
    })
})
