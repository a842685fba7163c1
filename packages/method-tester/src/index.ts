export {
  checkGradient,
  type CaseInput,
  type GradientCase,
  type GradientReport,
  gradientTolerance,
} from './gradients.js'
export { checks } from './checks.js'
export { checkMethod, type Failure, type Framework, type TestCases, testMethod } from './method.js'
export { toyDecoder, toyEncoder } from './toys.js'
export type { Check, InvalidCase, MethodCases, ValidCase } from './cases.js'
