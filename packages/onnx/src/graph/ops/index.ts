import { computeOps } from './compute.js'
import { elementwiseOps } from './elementwise.js'
import { gatherOps } from './gather.js'
import { quantisedOps } from './quantised.js'
import { shapeOps } from './shape.js'
import type { OpTable } from './spec.js'

/** Every operator Graft can type, by `Op` or `domain::Op`. Others are carried as they are, with unknown output types. */
export const ops: OpTable = { ...elementwiseOps, ...shapeOps, ...computeOps, ...gatherOps, ...quantisedOps }
