import { Command } from 'commander'
import { performRun } from '@graft-peft/compare'
import { defaultRegistry } from '../builtins.js'
import type { CommandMaker } from '../command.js'
import { endBy } from '../interrupt.js'

/** One run of a comparison in a process of its own; started by launchers. It ends when who started it is gone. */
export const runCommand: CommandMaker = (exit) =>
  new Command('run')
    .description('do one run of a comparison, from its folder (what launchers start)')
    .argument('<folder>', 'a folder with run.json and config.json')
    .option('--confined', 'the run comes from a queue: it may write to its folder alone and name no plugin')
    .option('--root <dir>', 'with --confined: the folder that it and its plugins must lie in')
    .action(async (folder: string, { confined, root }: { confined?: boolean; root?: string }) => {
      const controller = new AbortController()
      process.once('SIGTERM', () => controller.abort())
      // Ctrl-C reaches the whole process group; the one that started this run says when to stop.
      process.on('SIGINT', () => {})
      process.once('disconnect', () => endBy('SIGKILL'))
      const result = await performRun(folder, defaultRegistry(), {
        onProgress: (progress) => process.send?.(progress),
        signal: controller.signal,
        ...(confined ? { confined: { root } } : {}),
      })
      if (!result) exit(130)
      if (process.connected) process.disconnect()
    })
