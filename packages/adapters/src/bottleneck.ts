import {
  type AttachContext,
  type Builder,
  definePeftMethod,
  GraftError,
  type NormSite,
  ones,
  type Value,
  zeros,
} from '@graft-peft/core'
import { activations } from './activations.js'
import { type Joint, joints, type Part } from './joints.js'
import { once } from './once.js'
import { type BottleneckOptions, schema } from './options.js'
import { projection } from './projection.js'

/** h + f(h·Dᵀ)·Uᵀ between layers (Houlsby et al., 2019, arXiv 1902.00751; Pfeiffer et al., 2020, 2005.00247; He et al., 2021, 2110.04366);
 *  options as AdapterHub's BnConfig. */
export default definePeftMethod<BottleneckOptions>({
  name: 'bottleneck',
  apiVersion: 1,
  peftType: 'BOTTLENECK',
  family: 'adapters',
  summary: 'small networks between layers; Houlsby, Pfeiffer, parallel, Compacter',
  paper: 'https://arxiv.org/abs/1902.00751',
  learningRate: 2e-3,
  mergeable: false,
  aliases: {
    houlsby: 'method: { name: bottleneck }',
    pfeiffer:
      'method: { name: bottleneck, mh_adapter: false, original_ln_before: true, non_linearity: relu }',
    'parallel-adapter':
      'method: { name: bottleneck, mh_adapter: false, is_parallel: true, reduction_factor: 2, scaling: 4, init_weights: mam_adapter, non_linearity: relu }',
    compacter: 'method: { name: bottleneck, phm_layer: true, reduction_factor: 32, non_linearity: gelu }',
  },
  startsAsIdentity: (options) =>
    options.init_weights === 'mam_adapter' &&
    !options.phm_layer &&
    !options.ln_after &&
    (options.is_parallel || !options.original_ln_before || options.residual_before_ln === true),
  configSchema: schema,
  attach(given, options) {
    const context = once(given)
    for (const joint of chosen(joints(context.model), options)) {
      const { graph } = context.g
      const own = graph.within(joint.path, () => adapted(context, joint, options))
      graph.setInput(joint.sum, joint.index, own)
    }
    return {}
  },
})

/** The joints that options choose. Throws BAD_METHOD_OPTION. */
function chosen(all: readonly Joint[], options: BottleneckOptions): Joint[] {
  const { mh_adapter, output_adapter, cross_adapter, leave_out } = options
  const wanted: Record<Part, boolean> = {
    attention: mh_adapter,
    output: output_adapter,
    cross: cross_adapter,
  }
  const found = all.filter(({ part, layer }) => wanted[part] && !leave_out.includes(layer))
  if (found.length === 0)
    throw bad(
      `mh_adapter, output_adapter, cross_adapter and leave_out leave none of the model's ${all.length} places.`,
    )
  const side = found.find((j) => j.beside)
  if (side && (options.is_parallel || options.original_ln_before))
    throw bad(
      `${side.path} stands beside another part of its layer: is_parallel and original_ln_before need parts one after another.`,
    )
  return found
}
const bad = (what: string) => new GraftError('BAD_METHOD_OPTION', `method bottleneck: ${what}`)

/** What takes the place of the part's own output h. */
function adapted(context: AttachContext, joint: Joint, options: BottleneckOptions): Value {
  const { g } = context
  const h = joint.sum.inputs[joint.index] as Value
  const stream = joint.sum.inputs[1 - joint.index] as Value
  if (options.is_parallel) return g.add(bottleneck(context, joint, options)(stream), h)
  const both = () => g.add(h, stream)
  const { norm } = joint
  const normed = () => (norm ? again(g, norm, both()) : both())
  const read = options.original_ln_before ? normed() : h
  return bottleneck(context, joint, options, residual())(read)

  function residual(): Value {
    if (options.residual_before_ln === true) return h
    if (options.residual_before_ln === false) return read
    if (options.original_ln_before && norm) return both()
    throw bad(
      `residual_before_ln: post_add needs original_ln_before, and a layer that normalises its sum; ${joint.path} has none.`,
    )
  }
}

/** The layer's own norm, of another value. */
const again = (g: Builder, { node: { op, inputs, attributes } }: NormSite, x: Value): Value =>
  g.op(op, [x, ...inputs.slice(1)], attributes)

/** The network itself: down, activation, up, scaled; with the residual where one is given. */
function bottleneck(
  context: AttachContext,
  { path, layer }: Joint,
  options: BottleneckOptions,
  residual?: Value,
): (x: Value) => Value {
  const { g, param, dropout } = context
  const norm = (name: string, x: Value) =>
    g.op(
      'LayerNormalization',
      [
        x,
        param(`${path}.${name}.weight`, { shape: [width(x)], init: ones }),
        param(`${path}.${name}.bias`, { shape: [width(x)], init: zeros }),
      ],
      { axis: -1, epsilon: 1e-5 },
    )
  return (given) => {
    const size = width(given)
    const inner = Math.max(1, Math.floor(size / reduction(layer, options)))
    const x = options.ln_before ? norm('adapter_norm_before', given) : given
    const down = projection(context, { side: 'down', path, from: size, to: inner }, options)
    const up = projection(context, { side: 'up', path, from: inner, to: size }, options)
    const raised = scaled(context, path, options.scaling, up(activations[options.non_linearity](g, down(x))))
    let y = dropout(raised, options.dropout, path)
    if (residual && options.adapter_residual_before_ln) y = g.add(y, residual)
    if (options.ln_after) y = norm('adapter_norm_after', y)
    return residual && !options.adapter_residual_before_ln ? g.add(y, residual) : y
  }
}
const width = ({ shape }: Value): number => Number(shape?.at(-1))

function reduction(layer: number, { reduction_factor }: BottleneckOptions): number {
  if (typeof reduction_factor === 'number') return reduction_factor
  const found = reduction_factor[layer] ?? reduction_factor.default
  if (found !== undefined) return found
  throw bad(`reduction_factor says nothing of layer ${layer}, and has no default.`)
}

function scaled(
  { g, param }: AttachContext,
  path: string,
  scaling: BottleneckOptions['scaling'],
  y: Value,
): Value {
  if (typeof scaling === 'number') return g.scale(y, scaling)
  const shape = [scaling === 'learned' ? 1 : width(y)]
  return g.mul(y, param(`${path}.adapter_scaling`, { shape, init: ones }))
}
