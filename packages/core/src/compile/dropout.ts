import { type Builder, productOf, shapeOf, type Value } from '@graft/onnx'
import { Random } from '../method/random.js'

/**
 * Dropout whose mask is a function of (seed, module, row, column): the same step drops the same elements whenever it is run,
 * so training resumes exactly. Rows get an arithmetic hash in int64; a row's hash times a random odd number per column, modulo
 * 2³², gives each element 32 bits of which the high ones decide (multiply-shift hashing, Dietzfelbinger et al., 1997).
 */
export class Dropout {
  /** int64 scalar, fed with a new number each step */
  readonly seed: Value
  private readonly rowHashes = new Map<string, Value>()

  constructor(private readonly g: Builder) {
    this.seed = g.graph.addInput('dropout_seed', 'int64', [])
  }

  apply(x: Value, p: number, name: string): Value {
    const { g } = this
    const width = shapeOf(x).at(-1) as number
    const salt = new Random(0, name).below(prime)
    const row = this.mix(this.rows(x), salt)
    const leading = g.reshape(g.cast(row, 'int32'), [...shapeOf(x).slice(0, -1), 1])
    const hash = g.mul(leading, this.columns(width))
    const dropped = g.less(hash, g.constant('int32', [Math.round(p * 2 ** 32 - 2 ** 31)], []))
    return g.scale(g.where(dropped, g.scalar(0, x), x), 1 / (1 - p))
  }

  /** One hash per row of x (all dimensions but the last), shared by every module of the same shape. */
  private rows(x: Value): Value {
    const { g } = this
    const count = productOf(shapeOf(x).slice(0, -1))
    const found = this.rowHashes.get(`${count}`)
    if (found) return found
    const index = g.range(g.squeeze(g.dim(count), [0]))
    const first = this.modulo(g.add(g.mul(index, g.int(48271)), this.modulo(this.seed)))
    const hash = this.mix(first, 16807)
    this.rowHashes.set(`${count}`, hash)
    return hash
  }
  /** (h² + salt·69621 + seed) mod p: squares keep rows of neighbouring numbers apart. */
  private mix(h: Value, salt: number): Value {
    const { g } = this
    const squared = this.modulo(g.add(g.mul(h, h), g.int(salt * 69621)))
    return this.modulo(g.add(g.mul(squared, g.int(40692)), this.seed))
  }
  private modulo(v: Value): Value {
    return this.g.op('Mod', [v, this.g.int(prime)])
  }
  private columns(width: number): Value {
    const random = new Random(0, `columns/${width}`)
    const odd = Array.from({ length: width }, () => (Math.floor(random.unit() * 2 ** 32) | 1) >> 0)
    return this.g.constant('int32', odd)
  }
}
/** 2³¹ − 1: products of two residues stay below 2⁶². */
const prime = 2147483647
