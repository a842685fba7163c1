import { loadPlugins, Registry } from '@graft-peft/core/app'
import architectures from '@graft-peft/architectures'
import adalora from '@graft-peft/adalora'
import bullmq from '@graft-peft/bullmq'
import local from '@graft-peft/compare'
import ia3 from '@graft-peft/ia3'
import lora from '@graft-peft/lora'
import lowRank from '@graft-peft/low-rank'
import lycoris from '@graft-peft/lycoris'
import miss from '@graft-peft/miss'
import orthogonal from '@graft-peft/orthogonal'
import pTuning from '@graft-peft/p-tuning'
import prefixTuning from '@graft-peft/prefix-tuning'
import promptTuning from '@graft-peft/prompt-tuning'
import selective from '@graft-peft/selective'
import shared from '@graft-peft/shared'
import sparse from '@graft-peft/sparse'
import trackers from '@graft-peft/trackers'
import vera from '@graft-peft/vera'
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
  '@graft-peft/architectures': architectures,
  '@graft-peft/lora': lora,
  '@graft-peft/low-rank': lowRank,
  '@graft-peft/adalora': adalora,
  '@graft-peft/prefix-tuning': prefixTuning,
  '@graft-peft/prompt-tuning': promptTuning,
  '@graft-peft/p-tuning': pTuning,
  '@graft-peft/ia3': ia3,
  '@graft-peft/vera': vera,
  '@graft-peft/lycoris': lycoris,
  '@graft-peft/orthogonal': orthogonal,
  '@graft-peft/selective': selective,
  '@graft-peft/shared': shared,
  '@graft-peft/sparse': sparse,
  '@graft-peft/miss': miss,
  '@graft-peft/trackers': trackers,
  '@graft-peft/compare': local,
  '@graft-peft/bullmq': bullmq,
}

export function defaultRegistry(): Registry {
  const registry = new Registry()
  for (const [origin, exported] of Object.entries(builtins))
    registry.registerPackage(exported, { package: origin, version })
  return registry
}
