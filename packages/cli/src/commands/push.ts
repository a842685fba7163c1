import { Command } from 'commander'
import { push } from '@graft-peft/core/app'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine } from '../output.js'

export const pushCommand: CommandMaker = () =>
  new Command('push')
    .description(
      'upload an adapter or a merged model to the Hugging Face Hub, with a model card written from its run',
    )
    .argument('<folder>', 'adapter or model folder')
    .argument('<repository>', 'owner/name, or owner/name@branch')
    .option('--private', 'make the repository private, where it is new')
    .option('--message <text>', "the commit's message")
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      examples('graft push out/adapter me/my-adapter', 'graft push out/merged me/my-model --private'),
    )
    .action(
      async (
        folder: string,
        repository: string,
        { json, ...options }: { private?: boolean; message?: string; json?: boolean },
      ) => {
        const result = await push(folder, repository, options)
        if (json) return printJson(result)
        printLine(`Pushed ${result.files.length} files to ${result.url}`)
      },
    )
