// The catalogue of errors, made from the sources: docs/errors.md, and the type ErrorCode in packages/core/src/codes.ts.
//   node scripts/errors.mjs           writes what differs
//   node scripts/errors.mjs --check   names what lacks a code, or has one too many, and fails
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Every new GraftError(code, message) of the sources, in the order of files. */
function sites() {
  const found = []
  for (const path of sources()) {
    const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
    const visit = (node) => {
      if (ts.isNewExpression(node) && node.expression.getText() === 'GraftError')
        for (const code of codesOf(node.arguments[0]))
          found.push({ code, message: textOf(node.arguments[1]), at: relative(root, path) })
      ts.forEachChild(node, visit)
    }
    visit(file)
  }
  return found
}
const sources = () =>
  readdirSync(join(root, 'packages'))
    .flatMap((folder) => {
      const src = join(root, 'packages', folder, 'src')
      return existsSync(src) ? readdirSync(src, { recursive: true }).map((file) => join(src, file)) : []
    })
    .filter((path) => path.endsWith('.ts'))
    .sort()

/** The codes that an expression may be: a literal, or a choice of literals. Anything else is handed on from where it is one. */
function codesOf(node) {
  if (ts.isStringLiteral(node)) return [node.text]
  if (ts.isConditionalExpression(node)) return [...codesOf(node.whenTrue), ...codesOf(node.whenFalse)]
  return []
}
/** A message with its parts that vary as ‹…›. */
function textOf(node) {
  if (ts.isStringLiteralLike(node)) return node.text
  if (ts.isTemplateExpression(node))
    return [node.head.text, ...node.templateSpans.map(({ literal }) => `‹…›${literal.text}`)].join('')
  if (ts.isBinaryExpression(node)) return textOf(node.left) + textOf(node.right)
  if (ts.isParenthesizedExpression(node)) return textOf(node.expression)
  if (ts.isConditionalExpression(node)) return textOf(node.whenTrue)
  return '‹…›'
}

function byCode(list) {
  const groups = new Map()
  for (const site of list) groups.set(site.code, [...(groups.get(site.code) ?? []), site])
  return groups
}

const line = (text) => text.replace(/[<>]/g, (c) => (c === '<' ? '&lt;' : '&gt;')).replace(/\s+/g, ' ')
const unique = (list) => [...new Set(list)]
const codes = [...byCode(sites())].sort(([a], [b]) => (a < b ? -1 : 1))

/** The files that are made, with what they should hold. */
function madeFiles() {
  const entries = codes.map(([code, list]) => {
    const messages = unique(list.map(({ message }) => `- ${line(message)}`))
    const files = unique(list.map(({ at }) => `[${at.split('/').at(-1)}](../${at})`))
    return `## ${code}\n\n${messages.join('\n')}\n\nThrown in ${files.join(', ')}.\n`
  })
  const page = `# Errors

Every error of Graft is a \`GraftError\` with a \`code\` that stays and a message that says what was expected, what came, where, and what
to do; the command prints the message with the code behind it. \`ErrorCode\` of \`@graft-peft/core\` is the type of the codes below. Where
a message varies stands ‹…›. Made from the sources by \`npm run errors\`.

${entries.join('\n')}`
  const type = `/** Codes of Graft's own errors, each in docs/errors.md; plugins have more. Made by npm run errors. */
export type ErrorCode =
${codes.map(([code]) => `  | '${code}'`).join('\n')}
`
  return { 'docs/errors.md': page, 'packages/core/src/codes.ts': type }
}

/** Codes that a made file names, for the check: wording may go on changing between releases. */
const named = (text) =>
  unique([...text.matchAll(/^(?:## | {2}\| ')([A-Z][A-Z0-9_]+)/gm)].map(([, code]) => code))

const check = process.argv.includes('--check')
for (const [path, text] of Object.entries(madeFiles())) {
  const file = join(root, path)
  const there = existsSync(file) ? readFileSync(file, 'utf8') : ''
  if (there === text || (check && `${named(there)}` === `${named(text)}`)) continue
  if (!check) writeFileSync(file, text)
  console.log(`${check ? 'codes differ' : 'written'}: ${path}`)
  if (check) process.exitCode = 1
}
if (process.exitCode) console.error('Run: npm run errors')
