import { Random } from '@graft-peft/core'
import { type Variable } from '@graft-peft/core/inside'
import { fail } from './cases.js'
import { Bench } from './harness.js'

type Gradient = (parameters: Float32Array) => Promise<{ loss: number; gradient: Float32Array }>

/** Nodes and weights of Gauss and Legendre's rule of three points on [−1, 1]. */
const rule = [
  [-Math.sqrt(0.6), 5 / 9],
  [0, 8 / 9],
  [Math.sqrt(0.6), 5 / 9],
] as const
/** Half the way walked: from as far as rounding asks for to as near as a bend of the loss does. */
const ways = [0.1, 0.025, 6e-3, 1.5e-3, 4e-4, 1e-4]
/** What a float32 loss is off by, relative to it. */
const rounding = 5e-7
/** Share by which both sides may differ. */
const tolerance = 0.02

/**
 * Gradients against the loss itself. A fixed step is too wide for one method and lost in rounding for another; here the graph's own gradient is
 * integrated along a way (Gauss and Legendre's rule), which must give the loss's difference between its ends however the loss bends. A way
 * that bends too much for three points is shortened, as long as rounding leaves digits.
 */
export async function slopes(
  bench: Bench,
  { training = false, skipped = [] }: { training?: boolean; skipped?: readonly string[] } = {},
): Promise<void> {
  const adapted = bench.adapt({ training })
  const start = bench.moved(adapted)
  const { run, close } = await bench.gradient(training)
  try {
    const { gradient } = await run(start)
    if (gradient.some((d) => !Number.isFinite(d)))
      return fail('the gradient is not finite: look at roots and divisions at zero.')
    const checked = adapted.variables.list.filter(
      (v) => v.size > 0 && !skipped.some((s) => v.name.includes(s)),
    )
    for (const variable of checked) await walk(run, start, variable)
  } finally {
    await close()
  }
}

async function walk(run: Gradient, start: Float32Array, variable: Variable): Promise<void> {
  const direction = directionOf(variable)
  const at = (s: number) => {
    const moved = new Float32Array(start)
    direction.forEach((d, i) => {
      moved[variable.offset + i] += s * d
    })
    return run(moved)
  }
  const slope = async (s: number) => {
    const { gradient } = await at(s)
    return direction.reduce((sum, d, i) => sum + d * gradient[variable.offset + i], 0)
  }
  const integral = async (h: number) => {
    let sum = 0
    for (const [node, weight] of rule) sum += h * weight * (await slope(h * node))
    return sum
  }
  let [numeric, own] = [0, 0]
  for (const h of ways) {
    const [ahead, behind] = [(await at(h)).loss, (await at(-h)).loss]
    const [difference, along] = [ahead - behind, await integral(h)]
    const larger = Math.max(Math.abs(difference), Math.abs(along))
    const noise = rounding * (Math.abs(ahead) + Math.abs(behind) + 1)
    if (Math.abs(difference - along) < tolerance * larger + noise) return
    ;[numeric, own] = [difference / 2 / h, along / 2 / h]
    // Nearer still, rounding would decide.
    if (noise > 0.1 * larger) break
  }
  fail(
    `∂loss/∂${variable.name}: finite difference ${numeric.toFixed(4)}, graph ${own.toFixed(4)} — is ${variable.name} reached from the output, and by nothing but differentiable operators?`,
  )
}

/** A random direction of one variable, of length 1. */
function directionOf({ name, size }: Variable): Float32Array {
  const random = new Random(7, name)
  const raw = Float32Array.from({ length: size }, () => random.normal())
  const norm = Math.sqrt(raw.reduce((s, v) => s + v * v, 0)) || 1
  return raw.map((v) => v / norm)
}
