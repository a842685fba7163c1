import { Command } from 'commander'
import { pull } from '@graft-peft/core/app'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, thousands } from '../output.js'
import { pulling } from '../progress.js'

const gather = (text: string, all: string[] = []): string[] => [...all, text]

export const pullCommand: CommandMaker = () =>
  new Command('pull')
    .description(
      'fetch a model or an adapter from the Hugging Face Hub into the cache that its own tools use',
    )
    .argument('<repository>', 'owner/name, or owner/name@revision')
    .option(
      '--include <pattern>',
      'files to fetch, as in onnx/*; may be given several times (default: what Graft reads)',
      gather,
    )
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `${examples('graft pull HuggingFaceTB/SmolLM2-135M', 'graft pull owner/adapter@v1 --json')}\nHF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are heeded.\n`,
    )
    .action(async (repository: string, { include, json }: { include?: string[]; json?: boolean }) => {
      const controller = new AbortController()
      const interrupt = () => controller.abort(new Error('interrupted'))
      process.once('SIGINT', interrupt)
      const result = await pull(repository, { include, signal: controller.signal, ...pulling() }).finally(
        () => process.off('SIGINT', interrupt),
      )
      if (json) return printJson(result)
      printLine(
        `${repository}: ${result.files} files${result.fetched > 0 ? `, ${thousands(result.fetched)} bytes fetched` : ''}`,
      )
      printLine(result.folder)
    })
