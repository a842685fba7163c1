import { type Command, Option } from 'commander'
import { devices } from '@graft-peft/core/app'

/** Builds one command; it calls `exit` when it ends in anything but success. */
export type CommandMaker = (exit: (code: number) => void) => Command

/** Examples at the end of --help. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((l) => `  $ ${l}`).join('\n')}\n`

/** Which device computes. */
export const deviceOption = (): Option =>
  new Option('--device <name>', 'what computes; graft doctor says what there is')
    .choices(devices)
    .default('auto')

/** Words of a command as a shell reads them again. */
export const shellWords = (...words: string[]): string =>
  words.map((w) => (/^[\w@%+=:,./-]+$/.test(w) ? w : `'${w.replaceAll("'", `'\\''`)}'`)).join(' ')
