import { closeSync, openSync, readSync } from 'node:fs'
import { type Builder, type TensorData, type Value, inputOf, outputOf } from '@graft-peft/onnx'
import type { EmbeddingSite, LinearSite } from './site.js'

/**
 * A tied output layer is exported as a transposed copy of the embedding. Where the bytes agree, the layer reads the embedding
 * itself: one table in memory instead of two, and tying stays visible.
 */
export function shareTiedOutput(
  g: Builder,
  output: LinearSite | undefined,
  embeddings: readonly EmbeddingSite[],
): void {
  const copy = output?.node.inputs[1]
  if (!output || !copy?.data || copy.dtype !== 'float32' || !output.weight.transposed) return
  for (const { node } of embeddings) {
    const table = inputOf(node)
    if (table === copy || !table.data || !isTransposeOf(table, copy)) continue
    const { node: product } = output
    const tied = g.graph.within(product.scope, () => g.matMul(inputOf(product), table, { transB: true }))
    g.graph.replaceUses(outputOf(product), tied)
    g.graph.removeNode(product)
    return
  }
}

/** Reads float32 ranges of a constant, wherever it lies. */
class Floats {
  private readonly fd?: number
  constructor(private readonly data: TensorData) {
    if ('file' in data) this.fd = openSync(data.file, 'r')
  }
  read(start: number, count: number): Float32Array {
    const bytes = new Uint8Array(count * 4)
    if ('bytes' in this.data) bytes.set(this.data.bytes.subarray(start * 4, (start + count) * 4))
    else readSync(this.fd as number, bytes, 0, bytes.length, this.data.offset + start * 4)
    return new Float32Array(bytes.buffer)
  }
  close(): void {
    if (this.fd !== undefined) closeSync(this.fd)
  }
}

/** Whether copy[c][r] = table[r][c] everywhere; a block of the first rows settles most cases. */
function isTransposeOf(table: Value, copy: Value): boolean {
  const [rows, columns] = table.shape as number[]
  const [a, b] = copy.shape as number[]
  if (a !== columns || b !== rows) return false
  const [left, right] = [new Floats(table.data as TensorData), new Floats(copy.data as TensorData)]
  try {
    const block = Math.min(rows, 1024)
    for (let start = 0; start < rows; start += block) {
      const count = Math.min(block, rows - start)
      const part = left.read(start * columns, count * columns)
      for (let c = 0; c < columns; c++) {
        const row = right.read(c * rows + start, count)
        for (let r = 0; r < count; r++) if (part[r * columns + c] !== row[r]) return false
      }
    }
    return true
  } finally {
    left.close()
    right.close()
  }
}
