import { createHash } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openModel } from '@graft-peft/core/app'
import { floatValues, readOnnx, writeOnnx, type Constant } from '@graft-peft/onnx'
import { expect, it } from 'vitest'
import { sprout, temporaryFolder } from '../fixture.js'

const valuesOf = (graph: ReturnType<typeof readOnnx>) =>
  new Map(
    graph
      .constants()
      .filter((v) => v.dtype === 'float32')
      .map((v) => [
        v.name,
        createHash('sha256')
          .update(floatValues(v as unknown as Constant) as Float32Array)
          .digest('hex'),
      ]),
  )

it('weights beside a model lie in as many files as they take, and are read back from all', () => {
  const { graph } = openModel(sprout)
  const folder = temporaryFolder()
  const most = 4 * 2 ** 20
  const names = writeOnnx(graph, join(folder, 'model.onnx'), most)
  expect(names.length).toBeGreaterThan(2)
  expect(names.slice(0, 3)).toEqual(['model.onnx_data', 'model.onnx_data_1', 'model.onnx_data_2'])
  expect(readdirSync(folder).sort()).toEqual(['model.onnx', ...names].sort())
  for (const name of names) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(most)
  expect(valuesOf(readOnnx(join(folder, 'model.onnx')))).toEqual(valuesOf(graph))
})
