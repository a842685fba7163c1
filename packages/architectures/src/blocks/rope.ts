import { type Builder, entryOf, GraftError, type Settings, type Value } from '@graft-peft/core'
import type { TextInputs } from './inputs.js'

/** Rotary position embedding (Su et al., 2021, arXiv 2104.09864) as tables over positions: cosines and sines [total, width / 2]. */
export interface Rope {
  cos: Value
  sin: Value
  /** features of a head that turn; the rest pass */
  width: number
  /** neighbouring features turn together (GPT-J), not those half a head apart */
  interleaved: boolean
}

export interface RopeShape {
  headWidth: number
  interleaved?: boolean
  /** config.json's legacy name of the base */
  thetaKeys?: readonly string[]
  theta?: number
  /** share of a head's features that turn where config.json doesn't say; left out for models that always turn whole heads */
  partial?: number
  /** the entry of rope_parameters, for models whose layers differ */
  layerType?: string
  /** whether an older config's rope_scaling is not for these layers */
  unscaled?: boolean
}

/** Applies a rope to heads [batch, heads, sequence, headWidth]. */
export function rotate(
  g: Builder,
  x: Value,
  { positions }: TextInputs,
  { cos, sin, width, interleaved }: Rope,
  headWidth: number,
  heads: number,
): Value {
  const partial: Record<string, number> =
    width === headWidth ? {} : { rotary_embedding_dim: width, num_heads: heads }
  return g.op('com.microsoft::RotaryEmbedding', [x, positions, cos, sin], {
    interleaved: Number(interleaved),
    ...partial,
  })
}

/** Builds the tables that config.json asks for: default, linear, dynamic, yarn, longrope or llama3 (transformers' modeling_rope_utils.py). */
export function rope(g: Builder, config: Settings, inputs: TextInputs, shape: RopeShape): Rope {
  const settings = ropeSettings(config, shape)
  const width = Math.floor(shape.headWidth * settings.partial)
  const kind = entryOf(kinds, settings.type)
  if (!kind)
    throw config.wrong('rope_parameters.rope_type', `one of ${Object.keys(kinds).join(', ')}`, settings.type)
  const { frequencies, factor = 1 } = kind({ g, config, longest: longest(g, inputs), width, ...settings })
  // Half a pair turns as a whole one.
  return {
    ...tables(g, inputs, frequencies, factor),
    width: 2 * Math.ceil(width / 2),
    interleaved: shape.interleaved ?? false,
  }
}
/** The tables of a rope that config.json can't scale: `width` features of a head turn. */
export function fixedRope(g: Builder, inputs: TextInputs, width: number, interleaved: boolean): Rope {
  return { ...tables(g, inputs, constant(g, plain(10000, width)), 1), width, interleaved }
}
function tables(g: Builder, { total }: TextInputs, frequencies: Value, factor: number) {
  const angles = g.mul(g.unsqueeze(g.cast(g.range(g.squeeze(total, [0])), 'float32'), [1]), frequencies)
  return { cos: g.scale(g.op('Cos', [angles]), factor), sin: g.scale(g.op('Sin', [angles]), factor) }
}
/** Tokens in the longest text, [1] as float32: packed texts count apart, as their positions do, and padding doesn't. */
function longest(g: Builder, { mask, positions, sequence, total }: TextInputs): Value {
  const own = g.op('Slice', [mask, g.sub(total, sequence), total, g.ints([1])])
  const real = g.cast(g.greater(own, g.int(0)), 'float32')
  const counted = g.mul(g.add(g.cast(positions, 'float32'), g.scalar(1)), real)
  return g.reshape(g.op('ReduceMax', [counted], { keepdims: 0 }), [1])
}

interface RopeSettings {
  type: string
  theta: number
  partial: number
  /** the object that holds a scaling's own numbers */
  scaling: Settings | undefined
}

/** rope_parameters, or what older files say: rope_theta and rope_scaling. */
function ropeSettings(config: Settings, shape: RopeShape): RopeSettings {
  const { thetaKeys = ['rope_theta'], theta = 10000, layerType, unscaled } = shape
  const all = config.nested('rope_parameters')
  const older = unscaled || config.says('rope_parameters') ? undefined : config.nested('rope_scaling')
  const scaling = older ?? ((layerType && all?.nested(layerType)) || all)
  const type = scaling?.text(['rope_type', 'type'], 'default') ?? 'default'
  const base = config.number(thetaKeys, theta)
  // Where positions aren't stretched nobody reads what they are stretched from.
  config.optionalCount('original_max_position_embeddings')
  scaling?.optionalCount('original_max_position_embeddings')
  return {
    type,
    theta: scaling?.number('rope_theta', base) ?? base,
    partial: turningShare(config, shape, scaling, type),
    scaling,
  }
}
/** Models that turn whole heads don't read partial_rotary_factor, and scaled ropes of theirs can't have one. */
function turningShare(
  config: Settings,
  { partial }: RopeShape,
  scaling: Settings | undefined,
  type: string,
): number {
  const keys = ['partial_rotary_factor', 'rotary_pct']
  const said = scaling?.number('partial_rotary_factor', config.number(keys, partial ?? 1))
  const share = said ?? config.number(keys, partial ?? 1)
  if (partial !== undefined && (share < 0 || share > 1))
    throw config.wrong(keys[0], 'a share of a head, 0 to 1', share)
  if (partial !== undefined) return share
  if (share !== 1 && type !== 'default')
    throw config.wrong(keys[0], '1 for a scaled rope of a model that turns whole heads', share)
  return 1
}

interface Scaling extends RopeSettings {
  g: Builder
  config: Settings
  /** tokens in the longest text */
  longest: Value
  width: number
}
/** Turns per position of each pair of features, [width / 2], and what cosines and sines are scaled by. */
interface Turning {
  frequencies: Value
  factor?: number
}

const fround = Math.fround
/** θ^(−2i/width) in float32, as torch computes it. */
const plain = (theta: number, width: number): number[] =>
  Array.from({ length: Math.ceil(width / 2) }, (_, i) => fround(1 / fround(theta ** fround((2 * i) / width))))
const constant = (g: Builder, values: readonly number[]): Value => g.constant('float32', values)

function required({ scaling, config, type }: Scaling): Settings {
  if (scaling) return scaling
  throw new GraftError('BAD_MODEL_CONFIG', `${config.file}: rope_type ${type} needs its numbers beside it.`)
}
/** Where the model itself says it (Phi-3), that goes before what the scaling says. */
const original = (s: Scaling): number =>
  s.config.optionalCount('original_max_position_embeddings') ??
  required(s).count('original_max_position_embeddings', s.config.count('max_position_embeddings'))

const kinds: Readonly<Record<string, (s: Scaling) => Turning>> = {
  default: ({ g, theta, width }) => ({ frequencies: constant(g, plain(theta, width)) }),
  linear,
  dynamic,
  yarn,
  longrope,
  su: longrope,
  llama3,
  ntk_alpha: ntk,
}

/** All positions closer together by one factor. */
function linear(s: Scaling): Turning {
  const factor = required(s).number('factor')
  return {
    frequencies: constant(
      s.g,
      plain(s.theta, s.width).map((f) => fround(f / factor)),
    ),
  }
}
/** A greater base: slow turns are stretched, quick ones hardly. */
function ntk(s: Scaling): Turning {
  const theta = s.theta * required(s).number('alpha') ** (s.width / (s.width - 2))
  return { frequencies: constant(s.g, plain(theta, s.width)) }
}

/** Wavelengths beyond a threshold are stretched, those between two are blended (Llama 3.1). */
function llama3(s: Scaling): Turning {
  const own = required(s)
  const [factor, low, high, length] = [
    own.number('factor'),
    own.number('low_freq_factor'),
    own.number('high_freq_factor'),
    original(s),
  ]
  const stretched = plain(s.theta, s.width).map((f) => {
    const wavelength = (2 * Math.PI) / f
    if (wavelength < length / high) return f
    if (wavelength > length / low) return f / factor
    const smooth = (length / wavelength - low) / (high - low)
    return ((1 - smooth) * f) / factor + smooth * f
  })
  return { frequencies: constant(s.g, stretched) }
}

/** Peng et al., 2023, arXiv 2309.00071: low frequencies interpolated, high ones kept, a ramp between. */
function yarn(s: Scaling): Turning {
  const own = required(s)
  const length = original(s)
  const factor = own.has('factor') ? own.number('factor') : s.config.count('max_position_embeddings') / length
  const at = (turns: number) => (s.width * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(s.theta))
  const truncate = own.flag('truncate', true)
  const [slow, fast] = [at(own.number('beta_fast', 32)), at(own.number('beta_slow', 1))]
  const low = Math.max(truncate ? Math.floor(slow) : slow, 0)
  const high = Math.min(truncate ? Math.ceil(fast) : fast, s.width - 1)
  const ramp = (i: number) => Math.min(1, Math.max(0, (i - low) / (high === low ? 0.001 : high - low)))
  const frequencies = plain(s.theta, s.width).map((f, i) => (f / factor) * ramp(i) + f * (1 - ramp(i)))
  return {
    frequencies: constant(s.g, frequencies),
    factor: own.has('attention_factor') ? own.number('attention_factor') : yarnFactor(own, factor),
  }
}
function yarnFactor(own: Settings, factor: number): number {
  const scale = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1)
  const [some, all] = [own.number('mscale', 0), own.number('mscale_all_dim', 0)]
  return some && all ? scale(some) / scale(all) : scale(1)
}

/** Ding et al., 2024, arXiv 2402.13753: one list of factors up to the original length, another beyond. */
function longrope(s: Scaling): Turning {
  const own = required(s)
  const length = original(s)
  const { g, width, config } = s
  const base = Array.from({ length: Math.ceil(width / 2) }, (_, i) =>
    fround(s.theta ** fround((2 * i) / width)),
  )
  const list = (name: string) =>
    constant(
      g,
      own.numbers(name, Math.ceil(width / 2)).map((f, i) => fround(1 / fround(f * base[i]))),
    )
  const isLong = g.greater(s.longest, g.constant('float32', [length]))
  const factor = own.has('factor')
    ? own.number('factor')
    : config.count('max_position_embeddings', length) / length
  const attention = own.has('attention_factor')
    ? own.number('attention_factor')
    : factor <= 1
      ? 1
      : Math.sqrt(1 + Math.log(factor) / Math.log(length))
  return { frequencies: g.where(isLong, list('long_factor'), list('short_factor')), factor: attention }
}

/** NTK-aware scaling: the base grows with the length beyond the trained one. */
function dynamic(s: Scaling): Turning {
  const { g, width, theta, config } = s
  const factor = required(s).number('factor')
  const length = config.count('max_position_embeddings')
  const beyond = g.op('Max', [s.longest, g.constant('float32', [length])])
  const grown = g.sub(g.scale(beyond, factor / length), g.scalar(factor - 1))
  const base = g.scale(g.pow(grown, g.scalar(width / (width - 2))), theta)
  const exponents = constant(
    g,
    Array.from({ length: Math.ceil(width / 2) }, (_, i) => (-2 * i) / width),
  )
  return { frequencies: g.pow(base, exponents) }
}
