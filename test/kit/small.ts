import {
  definePeftMethod,
  kaimingUniform,
  type LinearSite,
  type PeftMethod,
  positive,
  real,
  share,
  type TargetOptions,
  targetedSchema,
  targets,
  type Value,
  zeros,
} from '@graft-peft/core'

export interface Options extends TargetOptions {
  r: number
  scale: number
  dropout: number
}
export interface Parts {
  site: LinearSite
  A: Value
  B: Value
}
export type Method = PeftMethod<Options>
export type Context = Parameters<Method['attach']>[0]
export type Init = typeof kaimingUniform
export type Adapter = ReturnType<Method['attach']>

/** What a mutant spoils of the small method; all else is sound. */
export interface Spoiled {
  init?: Init
  /** before anything is declared */
  first?: (context: Context, options: Options) => void
  options?: (options: Options) => Options
  choose?: (context: Context, options: Options) => LinearSite[]
  name?: (site: LinearSite) => string
  /** what the layer's input is to the adapter */
  read?: (context: Context, x: Value, options: Options, site: LinearSite) => Value
  update?: (context: Context, x: Value, parts: Parts, options: Options) => Value
  output?: (context: Context, y: Value, update: Value, options: Options, parts: Parts) => Value
  merge?: (context: Context, w: Value, parts: Parts, options: Options) => Value
  merged?: (parts: Parts[]) => Parts[]
  after?: (context: Context, parts: readonly Parts[], options: Options) => object
}

export const delta = ({ g }: Context, x: Value, { A, B }: Parts, { scale }: Options): Value =>
  g.scale(g.linear(g.linear(x, A), B), scale)

/** A low-rank update of the layers that a config chooses. */
export function attach({
  init = kaimingUniform,
  first,
  options: altered = (options) => options,
  choose = ({ model }, options) => targets(model, options),
  name = (site) => site.path,
  read = ({ dropout }, x, options, site) => dropout(x, options.dropout, site.path),
  update = delta,
  output = ({ g }, y, added) => g.add(y, added),
  merge = ({ g }, w, { A, B }, { scale }) => g.add(w, g.scale(g.matMul(B, A), scale)),
  merged = (parts) => parts,
  after,
}: Spoiled = {}): Method['attach'] {
  return (context, given) => {
    first?.(context, given)
    const options = altered(given)
    const { param } = context
    const adapted = choose(context, options).map((site): Parts => {
      const A = param(`${name(site)}.small_A`, { shape: [options.r, site.inFeatures], init })
      const B = param(`${name(site)}.small_B`, { shape: [site.outFeatures, options.r], init: zeros })
      const parts = { site, A, B }
      site.output.map((y, x) => {
        const added = update(context, read(context, x, options, site), parts, options)
        return output(context, y, added, options, parts)
      })
      return parts
    })
    return {
      merge: () =>
        merged(adapted).map(
          (parts) => [parts.site.weight, (w) => merge(context, w, parts, options)] as const,
        ),
      ...after?.(context, adapted, options),
    }
  }
}

/** A small, sound method; each mutant spoils one thing of it. */
export const small = (spoiled: Spoiled = {}, changes: Partial<Method> = {}): PeftMethod =>
  definePeftMethod<Options>({
    name: 'small',
    apiVersion: 1,
    peftType: 'SMALL',
    summary: 'a low-rank update',
    mergeable: true,
    startsAsIdentity: () => true,
    configSchema: targetedSchema({ r: positive(2), scale: real(2), dropout: share(0) }),
    attach: attach(spoiled),
    ...changes,
  }) as unknown as PeftMethod
