import { existsSync, realpathSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { GraftError, readObject } from '@graft-peft/core'
import { findPlugin, shown } from '@graft-peft/core/inside'

/** What a run may reach whose description comes from others: whoever can write to a queue can name any folder. */
export interface Confinement {
  /** the folder that runs and their plugins must lie in; without one a run may name no plugin at all */
  root?: string
}

/** Throws UNTRUSTED_RUN for a run that would write outside its folder, lies outside the root, or names code there. */
export function requireConfined(folder: string, { root }: Confinement): void {
  const { plugins = [], output } = readObject(join(folder, 'config.json'), 'BAD_RUN')
  if (root !== undefined && !liesIn(folder, root))
    throw refused(`${folder} lies outside the worker's root ${root}`)
  if (typeof output !== 'string' || !liesIn(output, folder))
    throw refused(`it would write to ${shown(output)}, outside its own folder ${folder}`)
  if (!Array.isArray(plugins) || !plugins.every((name) => typeof name === 'string'))
    throw refused(`its plugins are ${shown(plugins)}`)
  if (plugins.length > 0 && root === undefined)
    throw refused(
      `it names plugins (${plugins.join(', ')}), which are code. Start the worker with --root DIR, the folder that runs and their plugins lie in`,
    )
  for (const name of plugins) {
    const { file } = findPlugin(name, folder)
    if (!liesIn(file, root as string)) throw refused(`plugin ${file} lies outside the worker's root ${root}`)
  }
}
const refused = (why: string): GraftError => new GraftError('UNTRUSTED_RUN', `The run is refused: ${why}.`)

/** Whether a path, which need not be there yet, is a folder's own, links followed. */
function liesIn(path: string, folder: string): boolean {
  return real(path).startsWith(real(folder) + sep) || real(path) === real(folder)
}
const real = (path: string): string =>
  existsSync(path) || dirname(path) === path
    ? realpathSync(path)
    : join(real(dirname(path)), path.slice(dirname(path).length))
