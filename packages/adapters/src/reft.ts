import {
  type AttachContext,
  definePeftMethod,
  flag,
  GraftError,
  kaimingUniform,
  type Model,
  optionSchema,
  oneOf,
  positive,
  shapeOf,
  share,
  uniform,
  type Value,
  whole,
} from '@graft-peft/core'
import { type Activation, activations } from './activations.js'
import { type Joint, joints, layerOutput } from './joints.js'
import { once } from './once.js'
import { placesIn } from './positions.js'
import { type Rotation, rotation } from './rotation.js'

export interface ReftOptions {
  layers: 'all' | readonly number[]
  prefix_positions: number
  suffix_positions: number
  r: number
  orthogonality: boolean
  tied_weights: boolean
  subtract_projection: boolean
  non_linearity: Activation | null
  dropout: number
}

/** h + Rᵀ(W·h + b − R·h) at the first and last positions, behind layers (LoReFT: Wu et al., 2024, arXiv 2404.03592, equation 2);
 *  options as AdapterHub's ReftConfig. */
export default definePeftMethod<ReftOptions>({
  name: 'reft',
  apiVersion: 1,
  peftType: 'REFT',
  family: 'adapters',
  summary: 'changes hidden states of a few positions in a small subspace; LoReFT, NoReFT, DiReFT',
  paper: 'https://arxiv.org/abs/2404.03592',
  learningRate: 5e-3,
  mergeable: false,
  wholeTexts: true,
  aliases: {
    loreft: 'method: { name: reft }',
    noreft: 'method: { name: reft, orthogonality: false }',
    direft: 'method: { name: reft, orthogonality: false, subtract_projection: false }',
  },
  startsAsIdentity: () => false,
  configSchema: optionSchema(
    {
      layers: {
        anyOf: [{ const: 'all' }, { type: 'array', items: { type: 'integer', minimum: 0 }, minItems: 1 }],
        default: 'all',
      },
      prefix_positions: whole(3),
      suffix_positions: whole(0),
      r: positive(1),
      orthogonality: flag(true),
      tied_weights: flag(false),
      subtract_projection: flag(true),
      non_linearity: oneOf([...Object.keys(activations), null], null),
      dropout: share(0.05),
    },
    {
      dtype: 'numbers are trained in float32',
      output_reft: 'AdapterHub has interventions behind layers alone',
      init_weights_seed: "the run's seed is every method's: seed, beside the method",
    },
  ),
  attach(given, options) {
    const context = once(given)
    const { g } = context
    const { prefix_positions: first, suffix_positions: last } = options
    if (first + last === 0)
      throw new GraftError(
        'BAD_METHOD_OPTION',
        'method reft: prefix_positions and suffix_positions are both 0, so that it would change nothing.',
      )
    const rotations: Rotation[] = []
    for (const joint of endsOf(context.model, options.layers)) {
      const hidden = layerOutput(joint)
      let changed = hidden
      const made = g.graph.record(() =>
        g.graph.within(joint.prefix, () => {
          const { front, back } = placesIn(context.model, hidden)
          const units = options.tied_weights ? ['0', '0'] : ['0', '1']
          const counts = [first, last]
          ;[front, back].forEach((place, i) => {
            if (counts[i] === 0) return
            const chosen = g.op('And', [g.lessOrEqual(place, g.int(counts[i])), g.greater(place, g.int(0))])
            const unit = intervention(
              context,
              `${joint.prefix}.reft.units.${units[i]}`,
              hidden,
              options,
              rotations,
            )
            changed = g.where(g.unsqueeze(chosen, [2]), unit, changed)
          })
        }),
      )
      g.graph.replaceUses(hidden, changed, made)
    }
    if (rotations.every(({ saved }) => saved.length === 0)) return {}
    return {
      save: () => ({
        tensors: Object.fromEntries(rotations.flatMap(({ saved }) => saved)),
        finish: (tensors) => {
          for (const key of rotations.flatMap(({ dropped }) => dropped)) tensors.delete(key)
          return {}
        },
      }),
    }
  },
})

/** Dropout(x + (f(W·x + b) − R·x)·R). */
function intervention(
  context: AttachContext,
  path: string,
  x: Value,
  options: ReftOptions,
  rotations: Rotation[],
): Value {
  const { g, param, dropout } = context
  const [width, r] = [Number(shapeOf(x)[2]), options.r]
  const source = g.add(
    g.linear(x, param(`${path}.learned_source.weight`, { shape: [r, width], init: kaimingUniform })),
    param(`${path}.learned_source.bias`, { shape: [r], init: uniform(1 / Math.sqrt(width)) }),
  )
  const rotated = options.orthogonality ? rotation(context, `${path}.projection`, r, width) : undefined
  if (rotated) rotations.push(rotated)
  const R = rotated
    ? rotated.R
    : param(`${path}.projection.weight`, { shape: [r, width], init: kaimingUniform })
  const wanted = options.non_linearity ? activations[options.non_linearity](g, source) : source
  const change = options.subtract_projection ? g.sub(wanted, g.linear(x, R)) : wanted
  return dropout(g.add(x, g.matMul(change, R)), options.dropout, path)
}

/** The ends of the layers that are asked for. Throws TARGET_NOT_FOUND for one that isn't there. */
function endsOf(model: Model, layers: ReftOptions['layers']): Joint[] {
  const ends = joints(model).filter((j) => j.part === 'output')
  const known = ends.map((j) => j.layer)
  const missing = layers === 'all' ? [] : layers.filter((layer) => !known.includes(layer))
  if (known.length === 0 || missing.length > 0)
    throw new GraftError(
      'TARGET_NOT_FOUND',
      `method reft: ${model.file} has no layer ${missing.join(', ') || 'at all'} that ends by adding what a linear layer gives. Layers that do: ${known.join(', ') || 'none'}.`,
    )
  return ends.filter((j) => layers === 'all' || layers.includes(j.layer))
}
