// The figures of the page, by TypeScript's own parser: how long files, functions and lines are. Fails outside the limits.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import ts from 'typescript'

const limits = {
  'function lines, median': 6,
  'function lines, p95': 30,
  'file lines, max': 300,
  'lines over 120 columns, %': 2,
  'tokens a line, p95': 28,
}

const files = execFileSync('git', ['ls-files', 'packages/*/src/**.ts', 'test/**.ts'], { encoding: 'utf8' })
  .split('\n')
  .filter((path) => path && !path.includes('/gen/'))
const quantile = (numbers, q) => numbers.toSorted((a, b) => a - b)[Math.floor(q * (numbers.length - 1))]

/** Lines of each function, tokens of each line that has any, widths of lines. */
function measure(path) {
  const text = readFileSync(path, 'utf8')
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const line = (position) => source.getLineAndCharacterOfPosition(position).line
  const functions = []
  const tokens = new Map()
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body) functions.push(line(node.end) - line(node.getStart()) + 1)
    const children = node.getChildren()
    if (children.length === 0 && node.getWidth() > 0) {
      const at = line(node.getStart())
      tokens.set(at, (tokens.get(at) ?? 0) + 1)
    }
    children.forEach(visit)
  }
  visit(source)
  const lines = text.trimEnd().split('\n')
  return {
    path,
    functions,
    tokens: [...tokens.values()],
    widths: lines.map((l) => l.length),
    lines: lines.length,
  }
}

const all = files.map(measure)
const functions = all.flatMap((file) => file.functions)
const widths = all.flatMap((file) => file.widths)
const wide = widths.filter((width) => width > 120).length
const long = all.filter(({ lines }) => lines > limits['file lines, max'])
const figures = {
  files: all.length,
  lines: widths.length,
  'file lines, p95': quantile(
    all.map(({ lines }) => lines),
    0.95,
  ),
  'file lines, max': Math.max(...all.map(({ lines }) => lines)),
  'function lines, median': quantile(functions, 0.5),
  'function lines, p95': quantile(functions, 0.95),
  'function lines, max': Math.max(...functions),
  'lines over 120 columns': wide,
  'lines over 120 columns, %': Number(((100 * wide) / widths.length).toFixed(2)),
  'tokens a line, p95': quantile(
    all.flatMap((file) => file.tokens),
    0.95,
  ),
}
for (const [name, value] of Object.entries(figures)) {
  const over = value > limits[name]
  console.log(
    `${name}: ${value}${name in limits ? ` (at most ${limits[name]})` : ''}${over ? '  ← over' : ''}`,
  )
  if (over) process.exitCode = 1
}
for (const { path, lines } of long) console.log(`${path}: ${lines} lines`)
