// What an operator is has one home: the shape rules and traits in packages/onnx/src/graph/ops, beside them what the format and the
// gradients say of each. Elsewhere two or more operators' names in one list, or in one chain of comparisons, are a second home.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'
import { ops } from '@graft-peft/onnx'

const homes = ['graph/ops/', 'gradients/', 'format/'].map((room) => `packages/onnx/src/${room}`)
const isOperator = (node) => ts.isStringLiteral(node) && (node.text in ops || node.text.includes('::'))

const { BarBarToken, AmpersandAmpersandToken } = ts.SyntaxKind
const { EqualsEqualsEqualsToken, ExclamationEqualsEqualsToken } = ts.SyntaxKind
/** A chain's joint and the comparison that makes it a list: x === 'A' || x === 'B', x !== 'A' && x !== 'B'. */
const chains = [
  [BarBarToken, EqualsEqualsEqualsToken],
  [AmpersandAmpersandToken, ExclamationEqualsEqualsToken],
]
function compared(node, [joint, comparison]) {
  if (ts.isParenthesizedExpression(node)) return compared(node.expression, [joint, comparison])
  if (!ts.isBinaryExpression(node)) return []
  const { kind } = node.operatorToken
  if (kind === joint) return [node.left, node.right].flatMap((side) => compared(side, [joint, comparison]))
  const ofOperator = /(^|\.)op$/.test(node.left.getText())
  return kind === comparison && ofOperator && isOperator(node.right) ? [node.right.text] : []
}
const named = (node) =>
  ts.isArrayLiteralExpression(node) ? node.elements.filter(isOperator).map((e) => e.text)
  : ts.isBinaryExpression(node) ? chains.map((chain) => compared(node, chain)).find((names) => names.length > 1) ?? []
  : [] // biome-ignore format: a table

function* secondHomes(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
  const pending = [source]
  while (pending.length > 0) {
    const node = pending.pop()
    const names = named(node)
    if (names.length > 1) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart())
      yield `${file}:${line + 1}: ${names.join(', ')}`
    } else ts.forEachChild(node, (child) => void pending.push(child))
  }
}

const sources = () =>
  readdirSync('packages').flatMap((name) =>
    readdirSync(join('packages', name, 'src'), { recursive: true })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join('packages', name, 'src', file)),
  )
const files = process.argv[2] ? process.argv.slice(2) : sources()
const found = files
  .map((file) => relative('.', file))
  .filter((file) => !homes.some((home) => file.startsWith(home)) && !file.includes('/gen/'))
  .flatMap((file) => [...secondHomes(file)])
for (const place of found) console.error(`a second home for operators' kinds: ${place}`)
if (found.length > 0) {
  console.error('Ask is(op, trait) of packages/onnx/src/graph/ops/traits.ts, or give it a trait.')
  process.exitCode = 1
}
