import type { compile } from 'vega-lite'
import type { Chart } from './charts.js'

/** A chart as a picture, for pages without scripts. Vega takes 26 MB, which only who draws should pay. */
export async function svg({ spec }: Chart): Promise<string> {
  const [{ parse, View }, { compile }] = await Promise.all([import('vega'), import('vega-lite')])
  const view = new View(parse(compile(spec, { logger: silent }).spec), { renderer: 'none' })
  try {
    return await view.toSVG()
  } finally {
    view.finalize()
  }
}
/** Its warnings are for who writes a chart. */
const silent: NonNullable<NonNullable<Parameters<typeof compile>[1]>['logger']> = {
  level() {
    return this
  },
  warn() {
    return this
  },
  info() {
    return this
  },
  debug() {
    return this
  },
  error(...args: readonly string[]) {
    throw new Error(args.join(' '))
  },
} as never
