import {
  type BiasOption,
  biasOption,
  type Builder,
  definePeftMethod,
  flag,
  type Initialiser,
  kaimingUniform,
  positive,
  type TargetOptions,
  targetedSchema,
  targets,
  trainBiases,
  type Value,
} from '@graft-peft/core'

export interface HraOptions extends TargetOptions, BiasOption {
  r: number
  apply_GS: boolean
  init_weights: boolean
}

/** W·H₁·…·Hᵣ, a chain of Householder reflections (Yuan et al., 2024, arXiv 2405.17484); options as HF PEFT's HRAConfig. */
export default definePeftMethod<HraOptions>({
  name: 'hra',
  apiVersion: 1,
  peftType: 'HRA',
  family: 'orthogonal',
  summary: "reflects layers' inputs by learned Householder vectors",
  paper: 'https://arxiv.org/abs/2405.17484',
  learningRate: 2e-3,
  mergeable: true,
  startsAsIdentity: ({ r, apply_GS, init_weights }) => init_weights && r % 2 === 0 && !apply_GS,
  configSchema: targetedSchema({
    r: positive(8),
    apply_GS: flag(false),
    init_weights: flag(true),
    bias: biasOption('hra_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options)
    trainBiases(context, sites, options.bias)
    const adapted = sites.map((site) => {
      const u = param(`${site.path}.hra_u`, {
        shape: [site.inFeatures, options.r],
        // Pairs are equal vectors, which Gram–Schmidt can't tell apart.
        init: options.init_weights && options.r % 2 === 0 && !options.apply_GS ? pairs : kaimingUniform,
      })
      const { vectors, middle } = options.apply_GS ? orthonormal(g, u) : chain(g, u)
      const middleT = g.swapLast(middle)
      /** x·(I − V·T·Vᵀ) */
      const reflect = (x: Value, t: Value) => g.sub(x, g.linear(g.matMul(g.matMul(x, vectors), t), vectors))
      site.input.map((x) => reflect(x, middleT))
      return { site, form: (w: Value) => reflect(w, middle) }
    })
    return { merge: () => adapted.map(({ site, form }) => [site.weight, form]) }
  },
})

/** Equal vectors in pairs: two equal reflections undo each other, so training starts from the base. */
const pairs: Initialiser = ([rows, columns], random) => {
  const half = kaimingUniform([rows, columns / 2], random)
  return Float32Array.from(
    { length: rows * columns },
    (_, i) => half[Math.floor(i / columns) * (columns / 2) + Math.floor((i % columns) / 2)],
  )
}

interface Reflections {
  vectors: Value
  /** T of I − V·T·Vᵀ */
  middle: Value
}

/**
 * The product of the reflections I − 2vvᵀ in the compact form I − V·T·Vᵀ, T⁻¹ = I/2 + the strict upper triangle of VᵀV
 * (Schreiber and Van Loan, 1989). With N = −2·triu(VᵀV), nilpotent, T = 2·(I + N)(I + N²)(I + N⁴)….
 */
function chain(g: Builder, u: Value): Reflections {
  const r = u.shape?.[1] as number
  const vectors = g.div(u, g.sqrt(g.reduceSum(g.square(u), [0])))
  const upper = g.constant(
    'float32',
    Array.from({ length: r * r }, (_, i) => (i % r > Math.floor(i / r) ? -2 : 0)),
    [r, r],
  )
  let power = g.mul(g.matMul(vectors, vectors, { transA: true }), upper)
  let middle = g.add(g.identity(r), power)
  for (let covered = 2; covered < r; covered *= 2) {
    power = g.matMul(power, power)
    middle = g.matMul(middle, g.add(g.identity(r), power))
  }
  return { vectors, middle: g.scale(middle, 2) }
}

/** Gram–Schmidt: orthonormal vectors, whose reflections commute: I − 2·V·Vᵀ. */
function orthonormal(g: Builder, u: Value): Reflections {
  const r = u.shape?.[1] as number
  const done: Value[] = []
  for (let i = 0; i < r; i++) {
    const column = g.slice(u, i, i + 1, 1)
    const rest = done.reduce((v, q) => g.sub(v, g.matMul(q, g.matMul(q, v, { transA: true }))), column)
    done.push(g.div(rest, g.sqrt(g.sumAll(g.square(rest)))))
  }
  return { vectors: g.concat(done, 1), middle: g.scale(g.identity(r), 2) }
}
