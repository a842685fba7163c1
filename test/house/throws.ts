import ts from 'typescript'
import { checker } from './api.js'

/** Codes of the errors that a declaration makes itself: new GraftError('CODE', …). */
export function codesOf(node: ts.Node): string[] {
  const codes: string[] = []
  const visit = (inner: ts.Node) => {
    if (ts.isNewExpression(inner) && inner.expression.getText() === 'GraftError')
      codes.push(...literals(inner.arguments?.[0]))
    ts.forEachChild(inner, visit)
  }
  visit(node)
  return codes
}
const literals = (node?: ts.Node): string[] => {
  if (node && ts.isStringLiteral(node)) return [node.text]
  if (node && ts.isConditionalExpression(node))
    return [...literals(node.whenTrue), ...literals(node.whenFalse)]
  return []
}

/** Functions and methods with a body that a declaration calls by name, and classes that it makes. */
export function calledBy(node: ts.Node): ts.Declaration[] {
  const found = new Set<ts.Declaration>()
  const visit = (inner: ts.Node) => {
    if (ts.isCallExpression(inner) || ts.isNewExpression(inner)) {
      const declaration = checker.getResolvedSignature(inner)?.declaration as ts.Declaration | undefined
      if (declaration && !declaration.getSourceFile().isDeclarationFile) found.add(declaration)
    }
    ts.forEachChild(inner, visit)
  }
  visit(node)
  return [...found]
}

/** What stands behind @throws on a declaration, and on the members of a class. */
export function throwsOf(declaration: ts.Node): string {
  const nodes = ts.isClassDeclaration(declaration) ? [declaration, ...declaration.members] : [declaration]
  return nodes
    .flatMap((node) => ts.getJSDocTags(node))
    .filter(({ tagName }) => tagName.text === 'throws')
    .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '')
    .join(' ')
}

/** Functions, classes, and values that are functions, with a body that we have. */
export const isCode = (declaration: ts.Declaration): boolean =>
  !declaration.getSourceFile().isDeclarationFile &&
  (ts.isFunctionDeclaration(declaration) ||
    ts.isClassDeclaration(declaration) ||
    (ts.isVariableDeclaration(declaration) &&
      declaration.initializer !== undefined &&
      ts.isArrowFunction(declaration.initializer)))

/** What a name's docs leave unsaid of the errors it can throw: codes of its own, or that what it calls throws any. */
export function unsaid(declaration: ts.Declaration): string[] {
  const said = throwsOf(declaration)
  const own = codesOf(declaration).filter((code) => !said.includes(code))
  if (said !== '') return own
  const called = calledBy(declaration).flatMap((inner) => codesOf(inner))
  return [...own, ...called.map((code) => `${code}, of what it calls`)]
}
