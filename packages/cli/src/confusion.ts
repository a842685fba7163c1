import type { ClassMean, ClassScores } from '@graft-peft/core/app'
import stringWidth from 'string-width'
import { percent, tableLines, thousands } from './output.js'

/** Confusions that are named where the matrix is too wide. */
const most = 10
/** Columns that a class's name may take beside the matrix. */
const nameRoom = 24

const row = (name: string, { precision, recall, f1, support }: ClassMean): string[] => [
  name,
  ...[precision, recall, f1].map(percent),
  thousands(support),
]
/** A table's rows: each class, then the means. */
export const scoreRows = ({ each, macro, weighted }: ClassScores): string[][] => [
  ...each.map((c) => row(c.label, c)),
  row('mean of classes', macro),
  row('mean by support', weighted),
]

/** Which classes are taken for which: the matrix where it fits into the columns, else the largest confusions by name. */
export function confusionLines(
  report: ClassScores & { confusion: readonly (readonly number[])[] },
  columns: number,
): string[] {
  const lines = matrixLines(report)
  return Math.max(...lines.map((line) => stringWidth(line))) <= columns ? lines : confusions(report, columns)
}

type Confusions = Parameters<typeof confusionLines>[0]

function matrixLines({ each: classes, confusion }: Confusions): string[] {
  const numbered = classes.map(({ label }, i) => `${cut(label)}  ${i + 1}`)
  const rows = confusion.map((counts, i) => [numbered[i], ...counts.map((n) => (n === 0 ? '·' : `${n}`))])
  const right = Array.from({ length: classes.length + 1 }, () => 'right' as const)
  return [
    'Confusions: true classes in rows, what they were taken for in columns',
    ...tableLines(['', ...classes.map((_, i) => `${i + 1}`)], rows, right, Number.POSITIVE_INFINITY),
  ]
}
const cut = (label: string): string => (label.length > nameRoom ? `${label.slice(0, nameRoom - 1)}…` : label)

function confusions({ each: classes, confusion }: Confusions, columns: number): string[] {
  const wrong = confusion
    .flatMap((counts, t) => counts.map((n, p) => ({ n, t, p })))
    .filter(({ n, t, p }) => n > 0 && t !== p)
    .sort((a, b) => b.n - a.n)
  if (wrong.length === 0) return ['No confusions.']
  const rows = wrong.slice(0, most).map(({ n, t, p }) => {
    const { label, support } = classes[t]
    return [label, classes[p].label, `${n}`, percent(n / support)]
  })
  const rest = wrong.slice(most).reduce((sum, { n }) => sum + n, 0)
  return [
    `Largest confusions of ${classes.length} classes (the whole matrix: --json)`,
    ...tableLines(
      ['class', 'taken for', 'times', 'of class'],
      rows,
      ['left', 'left', 'right', 'right'],
      columns,
    ),
    ...(rest > 0 ? [`${thousands(rest)} more, each no more frequent than the last of these`] : []),
  ]
}
