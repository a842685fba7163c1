import { attention } from './attention.js'
import { convolutions } from './convolution.js'
import { elementwise } from './elementwise.js'
import { gathers } from './gather.js'
import { matmul } from './matmul.js'
import { normalisations } from './normalise.js'
import { quantised } from './quantised.js'
import { reductions } from './reduce.js'
import type { GradientTable } from './rule.js'
import { shapes } from './shape.js'

/** Every gradient rule, by `Op` or `domain::Op`. */
export const gradientRules: GradientTable = {
  ...elementwise,
  ...matmul,
  ...shapes,
  ...gathers,
  ...reductions,
  ...normalisations,
  ...convolutions,
  ...attention,
  ...quantised,
}

/** Operators whose outputs carry no gradient by nature: integers, truth values, steps. */
export const nonDifferentiable: ReadonlySet<string> = new Set([
  'Shape',
  'Size',
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'Xor',
  'Not',
  'IsNaN',
  'IsInf',
  'ArgMax',
  'ArgMin',
  'NonZero',
  'OneHot',
  'Range',
  'ConstantOfShape',
  'EyeLike',
  'Sign',
  'Floor',
  'Ceil',
  'Round',
  'Mod',
  'BitShift',
  'BitwiseAnd',
  'BitwiseOr',
  'BitwiseXor',
  'BitwiseNot',
  'DequantizeLinear',
  'com.microsoft::GatherBlockQuantized',
  'graft::StopGradient',
])
