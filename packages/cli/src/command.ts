import type { Command } from 'commander'

/** Builds one command; it calls `exit` when it ends in anything but success. */
export type CommandMaker = (exit: (code: number) => void) => Command

/** Examples at the end of --help. */
export const examples = (...lines: readonly string[]): string => `\nExamples:\n${lines.map((l) => `  $ ${l}`).join('\n')}\n`
