import { resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { work } from '@graft-peft/bullmq'
import { execute } from '@graft-peft/compare'
import { type CommandMaker, examples } from '../command.js'
import { interruptible } from '../interrupt.js'
import { count, read } from '../numbers.js'
import { note } from '../output.js'

interface Flags {
  queue: string
  name: string
  concurrency: number
  patience: number
  root?: string
}

/** BullMQ builds its keys with colons. */
function queueName(text: string): string {
  if (/^[^:\s]+$/.test(text)) return text
  throw new InvalidArgumentError('Expected a name without colons and blanks.')
}

export const workerCommand: CommandMaker = () =>
  new Command('worker')
    .description('do runs of comparisons that a queue holds, on a machine that shares their folder')
    .requiredOption('--queue <url>', 'Redis or Valkey, redis://host:6379')
    .option('--name <queue>', "the queue's name", queueName, 'graft')
    .option('--concurrency <n>', 'runs side by side', read(count), 1)
    .option(
      '--patience <seconds>',
      "without a sign of life for so long, a worker's run is taken over by another",
      read(count),
      30,
    )
    .option(
      '--root <dir>',
      'folder that runs and the plugins they name must lie in; without it runs may name no plugin',
    )
    .addHelpText(
      'after',
      examples(
        'graft worker --queue redis://queue:6379',
        'graft worker --queue redis://:secret@queue:6379 --concurrency 4',
      ),
    )
    .action(async ({ queue, name, concurrency, patience, root }: Flags) => {
      const { signal } = interruptible(
        'Stopping; runs in hand keep their checkpoint and go back to the queue.',
      )
      const program = resolve(process.argv[1])
      const flags = ['--confined', ...(root === undefined ? [] : ['--root', resolve(root)])]
      note(`Waiting for runs on ${name}. Ctrl-C stops.`)
      await work({
        url: queue,
        queue: name,
        concurrency,
        patience,
        execute: (job, signal, onProgress) => execute(program, job, signal, onProgress, flags),
        onNotice: (text) => note(`${new Date().toISOString()} ${text}`),
        signal,
      })
      // A Redis that is gone keeps its client trying; whoever stops a worker means it.
      process.exit(0)
    })
