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

/** Rows of 8-bit numbers times a matrix of them, [rows, N] as floats: a scale for the rows, one per column. */
const matMulIntegerToFloat: OpSpec = {
  arity: [4, 7],
  infer: (n) => {
    const [rows, matrix] = [n.shape(0), n.shape(1)]
    if (rows && matrix && rows.at(-1) !== matrix[0])
      throw n.illegal(`inner sizes ${rows.at(-1)} and ${matrix[0]} differ`)
    return [{ dtype: n.input(2).dtype, shape: rows && matrix && [...rows.slice(0, -1), matrix[1]] }]
  },
}
const quantizeLinear: OpSpec = {
  arity: [2, 3],
  infer: (n) => [{ dtype: n.x[2]?.dtype ?? 'uint8', shape: n.shape(0) }],
}

export const quantisedOps: OpTable = {
  QuantizeLinear: quantizeLinear,
  'com.microsoft::MatMulIntegerToFloat': matMulIntegerToFloat,
  'com.microsoft::MatMulNBits': matMulNBits,
  'com.microsoft::GatherBlockQuantized': gatherBlockQuantized,
}
