import { GraftError, type Model, type PeftMethod } from '@graft-peft/core'
import { type Adapted } from '@graft-peft/core/inside'
import type { Node, Value } from '@graft-peft/onnx'
import { unlessRefused } from './adapter-checks.js'
import { Bench } from './harness.js'
import { type Check, fail, toy } from './cases.js'

const propertiesOf = ({ configSchema }: PeftMethod): object =>
  (configSchema as { properties?: object }).properties ?? {}

export const refused: Check = {
  name: 'targets that match nothing are refused',
  async run(method, test) {
    if (!('target_modules' in propertiesOf(method))) return
    try {
      const bench = await Bench.open(toy(test), method, { ...test.config, target_modules: ['no_such_layer'] })
      bench.adapt()
    } catch (error) {
      if (
        error instanceof GraftError &&
        error.code === 'TARGET_NOT_FOUND' &&
        /\w+_proj|norm|embed|attn/.test(error.message)
      )
        return
      return fail(
        `target_modules: [no_such_layer] should fail with TARGET_NOT_FOUND and list what there is, but threw: ${(error as Error).message}. Choose layers with targets(model, options).`,
      )
    }
    fail(
      'target_modules: [no_such_layer] trains something all the same: choose layers with targets(model, options), which refuses it.',
    )
  },
}

/** The layer that is to be adapted, alone, and ways to say so. */
const layer = 'model.layers.1.self_attn.q_proj'
const sayings: readonly Record<string, unknown>[] = [
  { target_modules: [layer] },
  { target_modules: ['q_proj'], layers_to_transform: [1] },
  { target_modules: ['q_proj'], exclude_modules: ['model.layers.0.self_attn.q_proj'] },
]
/** What else a config says of where to train. */
const elsewhere = { exclude_modules: null, layers_to_transform: null, layers_pattern: null, bias: 'none' }

export const chosen: Check = {
  name: 'exactly the targets are adapted',
  async run(method, test) {
    const known = propertiesOf(method)
    for (const saying of sayings) {
      if (!Object.keys(saying).every((key) => key in known)) continue
      const cleared = Object.fromEntries(Object.entries(elsewhere).filter(([key]) => key in known))
      const config = { ...test.config, ...cleared, ...saying }
      const bench = await unlessRefused(async () => {
        const found = await Bench.open(toy(test), method, config)
        return { found, adapted: found.adapt() }
      })
      if (!bench) continue
      const touched = strayed(bench.found.base, bench.adapted)
      if (touched)
        fail(
          `${JSON.stringify(saying)} adapts ${touched} as well: adapt the layers that targets(model, options) gives, and no others.`,
        )
    }
  },
}

/** A module beside the layer whose part of the model a parameter reaches. */
function strayed(base: Model, { model, variables, state }: Adapted): string | undefined {
  const own = new Set([variables.flat, ...(state ? [state.flat] : [])])
  const trained = memo((v: Value): boolean => own.has(v) || inputs(v).some(trained))
  const [site] = base.linears.filter((s) => s.path === layer)
  const below = memo(
    (v: Value): boolean => v === site.output.value || v.producer === site.node || inputs(v).some(below),
  )
  const nodes = new Map([...model.graph.nodes].map((n) => [n.name, n]))
  for (const node of base.graph.nodes) {
    if (node === site.node || node.scope === layer) continue
    const adapted = nodes.get(node.name)
    const at = node.inputs.findIndex(
      (v, i) => v && !below(v) && adapted?.inputs[i] && trained(adapted.inputs[i]),
    )
    if (at >= 0) return moduleOf(base, node, at)
  }
  return undefined
}
/** The module that gives a node its input, or the node's own. */
const moduleOf = (base: Model, node: Node, at: number): string =>
  base.linears.find((s) => s.output.value === node.inputs[at])?.path ??
  node.inputs[at]?.producer?.scope ??
  node.scope ??
  node.name
const inputs = ({ producer }: Value): Value[] =>
  [...(producer?.inputs ?? []), ...(producer?.captures ?? [])].filter((v): v is Value => !!v)
/** Each value is asked about once; graphs are acyclic. */
function memo(ask: (v: Value) => boolean): (v: Value) => boolean {
  const known = new Map<Value, boolean>()
  return (v) => {
    const found = known.get(v) ?? ask(v)
    known.set(v, found)
    return found
  }
}
