import { loadPlugins, Registry } from '@graft-peft/core/app'
import { Option } from 'commander'
import { dependencies, version } from './manifest.js'

export const pluginOption = (): Option =>
  new Option('--plugins <names>', 'packages or paths of plugins, comma-separated')

/** The built-in methods, and those of plugins named on the command line (comma-separated, resolved from the working folder). */
export async function registryWith(plugins: string | undefined): Promise<Registry> {
  const registry = defaultRegistry()
  await loadPlugins(plugins?.split(',') ?? [], process.cwd(), registry)
  return registry
}

/** What comes with the command line: every plugin that it depends on. All others are named in a config's plugins. */
const builtins = await Promise.all(
  Object.keys(dependencies)
    .filter((name) => name.startsWith('@graft-peft/') && name !== '@graft-peft/core')
    .map(async (name) => ({ name, exported: (await import(name)).default })),
)

export function defaultRegistry(): Registry {
  const registry = new Registry()
  for (const { name, exported } of builtins) registry.registerPackage(exported, { package: name, version })
  return registry
}
