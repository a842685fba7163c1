import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** The entries of the core: what each is called from outside, its source, and the list of its names beside this file. */
export const doors = [
  { door: 'index', list: 'authors.txt' },
  { door: 'app', list: 'programs.txt' },
  { door: 'inside', list: 'inside.txt' },
] as const
export type Door = (typeof doors)[number]['door']

/** One exported name. */
export interface Exported {
  name: string
  kind: string
  symbol: ts.Symbol
}

const source = (door: Door) =>
  join(dirname(fileURLToPath(import.meta.url)), `../../packages/core/src/${door}.ts`)

/** The compiler's view of all three, made once. */
export const program = ts.createProgram(
  doors.map(({ door }) => source(door)),
  {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    types: ['node'],
    skipLibCheck: true,
    strict: true,
  },
)
export const checker = program.getTypeChecker()

const kinds: Partial<Record<ts.SyntaxKind, string>> = {
  [ts.SyntaxKind.ClassDeclaration]: 'class',
  [ts.SyntaxKind.FunctionDeclaration]: 'function',
  [ts.SyntaxKind.InterfaceDeclaration]: 'type',
  [ts.SyntaxKind.TypeAliasDeclaration]: 'type',
  [ts.SyntaxKind.VariableDeclaration]: 'value',
}

/** What a door exports, by name. A class exported as a type alone is a type. */
export function apiOf(door: Door): Exported[] {
  const file = program.getSourceFile(source(door)) as ts.SourceFile
  const module = checker.getSymbolAtLocation(file) as ts.Symbol
  return checker
    .getExportsOfModule(module)
    .map((symbol) => {
      const [declaration] = checker.getAliasedSymbol(symbol).declarations as ts.Declaration[]
      const kind = typeOnly(symbol) ? 'type' : (kinds[declaration.kind] as string)
      return { name: symbol.name, kind, symbol }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

const typeOnly = (symbol: ts.Symbol): boolean =>
  symbol.declarations?.some((d) => ts.isExportSpecifier(d) && (d.isTypeOnly || d.parent.parent.isTypeOnly)) ??
  false
