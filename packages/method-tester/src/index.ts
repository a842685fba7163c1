export {
  checkGradient,
  type CaseInput,
  type GradientCase,
  type GradientReport,
  gradientTolerance,
} from './gradients.js'
export { checks } from './checks.js'
export { type WholeCheck, wholeChecks } from './option-checks.js'
export { checkMethod, type Failure, type Framework, type TestCases, testMethod } from './method.js'
export { checkObjective, testObjective } from './objective.js'
export { type ObjectiveBench, type ObjectiveCases, openObjective } from './objective-bench.js'
export { type ObjectiveCheck, objectiveChecks } from './objective-checks.js'
export { type OptimizerCase, optimizerChecks, testOptimizer } from './optimizer.js'
export {
  checkMetric,
  checkReader,
  checkSchedule,
  type MetricCases,
  type ReaderCase,
  testMetric,
  testReader,
  testSchedule,
} from './kinds.js'
export { toyDecoder, toyEncoder } from './toys.js'
export type { Check, InvalidCase, MethodCases, ValidCase } from './cases.js'
