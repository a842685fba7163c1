import { type Builder, productOf, shapeOf, type Value } from '@graft-peft/onnx'
import { Random } from '../numbers/random.js'

/**
 * Dropout whose mask is a function of (seed, module, row, column): the same step drops the same elements whenever it is run,
 * so training resumes exactly. Rows get an arithmetic hash in 32 bits that wrap around, which every device has; a row's hash times a
 * random odd number per column gives each element 32 bits of which the high ones decide (multiply-shift hashing, Dietzfelbinger
 * et al., 1997).
 */
export class Dropout {
  /** int32 scalar, fed with a new number each step */
  readonly seed: Value
  private readonly rowHashes = new Map<string, Value>()

  constructor(private readonly g: Builder) {
    this.seed = g.graph.addInput('dropout_seed', 'int32', [])
  }

  apply(x: Value, p: number, name: string): Value {
    const { g } = this
    const dropped = g.less(this.hash(x, name), this.number(Math.round(p * 2 ** 32 - 2 ** 31)))
    return g.scale(g.where(dropped, g.scalar(0, x), x), 1 / (1 - p))
  }
  /** Standard normal numbers in the shape of x, from two uniform ones each (Box and Muller, 1958). */
  normal(x: Value, name: string): Value {
    const { g } = this
    const uniform = (part: string) => unit(g, this.hash(x, `${name}/${part}`))
    const radius = g.sqrt(g.scale(g.log(uniform('radius')), -2))
    return g.cast(g.mul(radius, g.op('Cos', [g.scale(uniform('angle'), 2 * Math.PI)])), x.dtype ?? 'float32')
  }

  /** An int32 for each element of x. */
  private hash(x: Value, name: string): Value {
    const { g } = this
    const width = shapeOf(x).at(-1) as number
    const row = this.mix(g.add(this.rows(x), this.number(new Random(0, name).below(2 ** 31))))
    const leading = g.reshape(row, [...shapeOf(x).slice(0, -1), 1])
    return g.mul(leading, this.columns(width))
  }

  /** One hash per row of x (all dimensions but the last), shared by every module of the same shape. */
  private rows(x: Value): Value {
    const { g } = this
    const count = productOf(shapeOf(x).slice(0, -1))
    const found = this.rowHashes.get(`${count}`)
    if (found) return found
    const index = g.cast(g.range(g.squeeze(g.dim(count), [0])), 'int32')
    const hash = this.mix(g.add(g.mul(index, this.number(spread)), this.seed))
    this.rowHashes.set(`${count}`, hash)
    return hash
  }
  /** h(2h + 1), a bijection whose high bits depend on all of h (Rivest et al., RC6, 1998); its high half is added to its low half. */
  private mix(h: Value): Value {
    const { g } = this
    const product = g.mul(h, g.add(g.add(h, h), this.number(1)))
    const folded = g.add(product, g.div(product, this.number(2 ** 16)))
    return g.mul(folded, this.number(spread))
  }
  private number = (value: number): Value => this.g.constant('int32', [value], [])
  private columns(width: number): Value {
    const random = new Random(0, `columns/${width}`)
    const odd = Array.from({ length: width }, () => (Math.floor(random.unit() * 2 ** 32) | 1) >> 0)
    return this.g.constant('int32', odd)
  }
}
/** An odd number near 2³²/φ as a signed one: neighbours land far apart (Knuth, volume 3, 6.4). */
const spread = -1640531527

/** Any int32 as a number above 0 and up to 1: its logarithm is finite. In float32 the least integers fall together, and would give 0. */
export const unit = (g: Builder, integer: Value): Value =>
  g.op('Max', [
    g.op('Min', [g.add(g.scale(g.cast(integer, 'float32'), 2 ** -32), g.scalar(0.5)), g.scalar(1)]),
    g.scalar(2 ** -26),
  ])
