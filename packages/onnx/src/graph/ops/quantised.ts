import { intAttribute } from '../types.js'
import { many, type OpSpec, type OpTable } from './spec.js'

/** x·Wᵀ with W in blocks of a few bits: [N, K/block, block·bits/8] bytes, a scale per block. */
const matMulNBits: OpSpec = {
  arity: [3, 6],
  infer: (n) => {
    const [dims, k] = [n.shape(0), n.int('K', 0)]
    if (dims && typeof dims.at(-1) === 'number' && dims.at(-1) !== k)
      throw n.illegal(`the input is ${dims.at(-1)} wide, the weight takes ${k}`)
    return [{ dtype: n.input(0).dtype, shape: dims && [...dims.slice(0, -1), n.int('N', 0)] }]
  },
}
/** Rows of a table kept in blocks of a few bits. */
const gatherBlockQuantized: OpSpec = {
  arity: [3, many],
  infer: (n) => {
    const [table, indices] = [n.shape(0), n.shape(1)]
    const perByte =
      n.input(0).dtype === 'uint8' ? 8 / intAttribute({ attributes: n.attributes }, 'bits', 4) : 1
    const width = Number(table?.[1]) * perByte
    return [{ dtype: n.input(2).dtype, shape: table && indices && [...indices, width] }]
  },
}

export const quantisedOps: OpTable = {
  'com.microsoft::MatMulNBits': matMulNBits,
  'com.microsoft::GatherBlockQuantized': gatherBlockQuantized,
}
