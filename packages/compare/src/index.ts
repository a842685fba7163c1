import { local } from './local.js'

export { type Budget, type Comparison, type Entry, loadComparison, type RunSpec } from './comparison.js'
export { compare, type CompareHooks, resultsFile } from './compare.js'
export { execute } from './execute.js'
export { performRun, type RunHooks } from './run.js'
export { type Answer, type Forgetting, Results, type RunResult } from './results.js'
export { differ, type Interval, interval } from './statistics.js'
export { summarise } from './summary.js'
export { type Column, columnsOf, findings, isBest } from './report/columns.js'
export { writeReport } from './report/report.js'
export default local

export type { Row, Summary } from './table.js'
