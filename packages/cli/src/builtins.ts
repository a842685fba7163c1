import { loadPlugins, Registry } from '@graft/core'
import architectures from '@graft/architectures'
import adalora from '@graft/adalora'
import bullmq from '@graft/bullmq'
import local from '@graft/compare'
import ia3 from '@graft/ia3'
import lora from '@graft/lora'
import lycoris from '@graft/lycoris'
import miss from '@graft/miss'
import orthogonal from '@graft/orthogonal'
import pTuning from '@graft/p-tuning'
import prefixTuning from '@graft/prefix-tuning'
import promptTuning from '@graft/prompt-tuning'
import selective from '@graft/selective'
import sparse from '@graft/sparse'
import trackers from '@graft/trackers'
import vera from '@graft/vera'
import { Option } from 'commander'
import { version } from './version.js'

export const pluginOption = (): Option =>
  new Option('--plugins <names>', 'packages or paths of plugins, comma-separated')

/** The built-in methods, and those of plugins named on the command line (comma-separated, resolved from the working folder). */
export async function registryWith(plugins: string | undefined): Promise<Registry> {
  const registry = defaultRegistry()
  await loadPlugins(plugins?.split(',') ?? [], process.cwd(), registry)
  return registry
}

/** Architectures, methods, trackers and launchers that come with the command line, by the package they come from; all others are named in a config's plugins. */
const builtins: Record<string, unknown> = {
  '@graft/architectures': architectures,
  '@graft/lora': lora,
  '@graft/adalora': adalora,
  '@graft/prefix-tuning': prefixTuning,
  '@graft/prompt-tuning': promptTuning,
  '@graft/p-tuning': pTuning,
  '@graft/ia3': ia3,
  '@graft/vera': vera,
  '@graft/lycoris': lycoris,
  '@graft/orthogonal': orthogonal,
  '@graft/selective': selective,
  '@graft/sparse': sparse,
  '@graft/miss': miss,
  '@graft/trackers': trackers,
  '@graft/compare': local,
  '@graft/bullmq': bullmq,
}

export function defaultRegistry(): Registry {
  const registry = new Registry()
  for (const [origin, exported] of Object.entries(builtins))
    registry.registerPackage(exported, { package: origin, version })
  return registry
}
