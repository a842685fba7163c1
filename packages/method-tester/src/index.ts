export {
  checkGradient,
  type CaseInput,
  type GradientCase,
  type GradientReport,
  gradientTolerance,
} from './gradients.js'
export { type Check, checks, type InvalidCase, type MethodCases, type ValidCase } from './checks.js'
export { checkMethod, type Failure, type Framework, type TestCases, testMethod } from './method.js'
export { toyDecoder, toyEncoder } from './toys.js'
