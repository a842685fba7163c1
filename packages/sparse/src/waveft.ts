import {
  type BiasOption,
  biasOption,
  type Builder,
  byPattern,
  defaultTargets,
  definePeftMethod,
  flag,
  GraftError,
  type LinearSite,
  normal,
  oneOf,
  pattern,
  positive,
  real,
  roundHalfEven,
  type TargetOptions,
  targetedSchema,
  targets,
  TorchRandom,
  trainBiases,
  type Value,
  zeros,
} from '@graft-peft/core'
import { synthesis, wavelets } from './wavelets.js'

export interface WaveFtOptions extends TargetOptions, BiasOption {
  n_frequency: number
  scaling: number
  wavelet_family: string
  use_idwt: boolean
  random_loc_seed: number
  n_frequency_pattern: Record<string, number>
  proportional_parameters: boolean
  init_weights: boolean
}

/** ΔW = scaling·(inverse wavelet transform of a sparse matrix) (Bilican et al., 2025, arXiv 2505.12532); options as HF PEFT's WaveFTConfig. */
export default definePeftMethod<WaveFtOptions>({
  name: 'waveft',
  apiVersion: 1,
  peftType: 'WAVEFT',
  family: 'sparse',
  summary: 'trains a few wavelet coefficients of each weight',
  paper: 'https://arxiv.org/abs/2505.12532',
  learningRate: 5e-3,
  mergeable: true,
  startsAsIdentity: ({ init_weights }) => init_weights,
  configSchema: targetedSchema({
    n_frequency: positive(2592),
    scaling: real(25),
    wavelet_family: oneOf(Object.keys(wavelets), 'db1'),
    use_idwt: flag(true),
    random_loc_seed: { type: 'integer', minimum: 0, default: 777 },
    n_frequency_pattern: pattern,
    proportional_parameters: flag(false),
    init_weights: flag(true),
    fan_in_fan_out: flag(false),
    bias: biasOption('waveft_only'),
  }),
  attach(context, options) {
    const { model, g, param } = context
    const sites = targets(model, options, { among: model.linears, defaults })
    trainBiases(context, sites, options.bias)
    const all = sites.reduce((sum, s) => sum + s.inFeatures * s.outFeatures, 0)
    for (const site of sites) {
      const count = countOf(site, options, (site.inFeatures * site.outFeatures * sites.length) / all)
      const spectrum = param(`${site.path}.waveft_spectrum`, {
        shape: [count],
        init: options.init_weights ? zeros : normal(0.01),
      })
      const delta = options.use_idwt
        ? transformed(g, spectrum, site, options)
        : sparse(g, spectrum, site, options)
      site.weight.add(g.scale(delta, options.scaling))
    }
    return { merge: () => [] }
  },
})

/** As HF PEFT's, which names another layer where all of attention is one. */
const defaults = { ...defaultTargets, gpt2: ['mlp.c_proj'], gpt_bigcode: ['mlp.c_proj'] }

/** How many coefficients a layer trains; `part` is its share of all layers' entries, relative to an average layer. */
function countOf(
  { path, inFeatures, outFeatures }: LinearSite,
  options: WaveFtOptions,
  part: number,
): number {
  const { n_frequency, n_frequency_pattern, proportional_parameters } = options
  const count = proportional_parameters
    ? Math.max(1, roundHalfEven(n_frequency * part))
    : byPattern(path, n_frequency_pattern, n_frequency)
  if (count > inFeatures * outFeatures)
    throw new GraftError(
      'BAD_METHOD_OPTION',
      `method waveft: n_frequency ${count} is more than ${path} has entries: ${inFeatures * outFeatures}.`,
    )
  return count
}

type Place = [row: number, column: number]
/** The places HF PEFT draws in a layer's weight. */
const placesIn = ({ inFeatures: n, outFeatures: m }: LinearSite, seed: number, count: number): Place[] =>
  [...new TorchRandom(seed).permutation(m * n, count)].map((i) => [Math.floor(i / n), i % n])

function scatter(g: Builder, spectrum: Value, places: Place[], shape: [number, number]): Value {
  return g.op('ScatterND', [g.zeros(shape), g.constant('int64', places.flat(), [places.length, 2]), spectrum])
}
function sparse(g: Builder, spectrum: Value, site: LinearSite, { random_loc_seed }: WaveFtOptions): Value {
  const places = placesIn(site, random_loc_seed, spectrum.shape?.[0] as number)
  return scatter(g, spectrum, places, [site.outFeatures, site.inFeatures])
}

/** One level of the transform back, of coefficients padded so that what it gives is as large as the weight. */
function transformed(
  g: Builder,
  spectrum: Value,
  site: LinearSite,
  { wavelet_family, random_loc_seed }: WaveFtOptions,
): Value {
  const low = wavelets[wavelet_family]
  const [m, n] = [site.outFeatures, site.inFeatures]
  const padded = (size: number) => 2 * Math.ceil((size + low.length - 2) / 2)
  const [rows, columns] = [padded(m), padded(n)]
  const [top, left] = [Math.floor((rows - m) / 2), Math.floor((columns - n) / 2)]
  /** HF PEFT reads the upper right quarter as detail along rows, the lower left as detail along columns. */
  const places = placesIn(site, random_loc_seed, spectrum.shape?.[0] as number).map(([i, j]): Place => {
    const [r, c] = [i + top, j + left]
    const [h, w] = [rows / 2, columns / 2]
    return [(r % h) + (c >= w ? h : 0), (c % w) + (r >= h ? w : 0)]
  })
  const along = synthesis(g, scatter(g, spectrum, places, [rows, columns]), low)
  const both = g.swapLast(synthesis(g, g.swapLast(along), low))
  return g.slice(g.slice(both, 0, m, 0), 0, n, 1)
}
