import type { Dim, Shape } from '../dim.js'
import { broadcastShapes, printShape } from '../dim.js'
import { GraftError } from '../errors.js'
import type { Attribute, DType, Known, Value } from '../types.js'

/** What an operator's rule says of one output. */
export interface Typed {
  dtype: DType
  shape: Shape | null
  known?: Known
}

/** The view a rule has of the node it types. */
export class OpView {
  constructor(
    readonly op: string,
    readonly x: readonly (Value | null)[],
    readonly attributes: Readonly<Record<string, Attribute>>,
    readonly outputs: number,
    readonly where: string,
  ) {}

  int(name: string, otherwise: number): number {
    return (this.attributes[name] as number | undefined) ?? otherwise
  }
  ints(name: string): readonly number[] | undefined {
    return this.attributes[name] as readonly number[] | undefined
  }
  text(name: string, otherwise: string): string {
    return (this.attributes[name] as string | undefined) ?? otherwise
  }
  input(i: number): Value {
    const value = this.x[i]
    if (!value) throw this.illegal(`input ${i} is missing`)
    return value
  }
  /** The shape of input i, or null when it is unknown. */
  shape(i: number): Shape | null {
    return this.input(i).shape
  }
  /** A non-negative axis below `rank`. */
  axis(axis: number, rank: number): number {
    const positive = axis < 0 ? axis + rank : axis
    if (positive < 0 || positive >= Math.max(rank, 1))
      throw this.illegal(`axis ${axis} is outside rank ${rank}`)
    return positive
  }
  /** The contents of integer input i as numbers, or undefined when it isn't there or not known at compile time. */
  numbers(i: number, length?: number): readonly number[] | undefined {
    const known = this.dims(i, length)
    return known?.every((d) => typeof d === 'number') ? (known as readonly number[]) : undefined
  }
  /** The same with sizes that are symbols among them. Throws where there are more or fewer than `length`. */
  dims(i: number, length?: number): readonly Dim[] | undefined {
    const known = this.x[i]?.known as readonly Dim[] | undefined
    if (known && length !== undefined && known.length !== length)
      throw this.illegal(`input ${i} has ${known.length} entries, expected ${length}`)
    return known
  }
  broadcast(...indices: number[]): Shape | null {
    let shape: Shape | null = []
    for (const i of indices) {
      const next: Shape | null = this.shape(i)
      if (!next || !shape) return null
      const both: Dim[] | undefined = broadcastShapes(shape, next)
      if (!both) throw this.illegal(`shapes ${printShape(shape)} and ${printShape(next)} don't broadcast`)
      shape = both
    }
    return shape
  }
  sameType(...indices: number[]): DType {
    const dtype = this.input(indices[0]).dtype
    for (const i of indices)
      if (this.input(i).dtype !== dtype)
        throw this.illegal(`inputs have types ${dtype} and ${this.input(i).dtype}`)
    return dtype
  }
  illegal(why: string): GraftError {
    const inputs = this.x
      .map((v) => (v ? `${v.name}: ${v.dtype}${v.shape ? printShape(v.shape) : '[?]'}` : '–'))
      .join(', ')
    return new GraftError('ILLEGAL_NODE', `${this.op} at ${this.where}: ${why} (inputs: ${inputs}).`)
  }
}

export interface OpSpec {
  /** least and greatest number of inputs */
  arity: readonly [number, number]
  infer: (n: OpView) => Typed[]
}
export type OpTable = Record<string, OpSpec>

export const many = Number.POSITIVE_INFINITY
/** Known contents are kept for scalars and short vectors only: they exist for shapes, not for data. */
export const knownLimit = 64
