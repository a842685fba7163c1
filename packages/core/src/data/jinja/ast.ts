/** Expressions of a template. */
export type Expression =
  | { type: 'const'; value: unknown }
  | { type: 'name'; name: string }
  | { type: 'list' | 'tuple' | 'concat'; items: readonly Expression[] }
  | { type: 'dict'; items: readonly (readonly [Expression, Expression])[] }
  | { type: 'attribute'; object: Expression; name: string }
  | { type: 'item'; object: Expression; index: Expression }
  | { type: 'slice'; parts: readonly (Expression | undefined)[] }
  | { type: 'call'; callee: Expression; args: Arguments; line: number }
  | { type: 'filter'; operand: Expression; name: string; args: Arguments; line: number }
  | { type: 'test'; operand: Expression; name: string; args: Arguments; line: number }
  | { type: 'unary'; operator: '-' | '+' | 'not'; operand: Expression }
  | { type: 'binary'; operator: string; left: Expression; right: Expression; line: number }
  | { type: 'compare'; first: Expression; rest: readonly (readonly [string, Expression])[]; line: number }
  | { type: 'choice'; condition: Expression; chosen: Expression; otherwise: Expression | undefined }

export interface Arguments {
  positional: readonly Expression[]
  named: readonly (readonly [string, Expression])[]
  spread?: Expression
  namedSpread?: Expression
}
export interface Parameter {
  name: string
  otherwise?: Expression
}

/** Statements of a template. */
export type Statement =
  | { type: 'text'; text: string }
  | { type: 'print'; value: Expression }
  | {
      type: 'if'
      branches: readonly (readonly [Expression, readonly Statement[]])[]
      otherwise: readonly Statement[]
    }
  | For
  | { type: 'set'; target: Expression; value: Expression; line: number }
  | {
      type: 'capture'
      target: Expression
      body: readonly Statement[]
      filters: readonly Filter[]
      line: number
    }
  | Macro
  | { type: 'call block'; call: Expression; caller: Macro }
  | { type: 'filter block'; filters: readonly Filter[]; body: readonly Statement[] }
  | {
      type: 'with'
      values: readonly (readonly [Expression, Expression])[]
      body: readonly Statement[]
      line: number
    }
  | { type: 'generation'; body: readonly Statement[] }
  | { type: 'break' | 'continue' }

export interface For {
  type: 'for'
  target: Expression
  iterable: Expression
  condition: Expression | undefined
  body: readonly Statement[]
  otherwise: readonly Statement[]
  recursive: boolean
  line: number
}
export interface Macro {
  type: 'macro'
  name: string
  parameters: readonly Parameter[]
  body: readonly Statement[]
  line: number
}
export interface Filter {
  name: string
  args: Arguments
  line: number
}
export const noArguments: Arguments = { positional: [], named: [] }
