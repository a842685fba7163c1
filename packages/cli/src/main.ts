import { Command, CommanderError } from 'commander'
import { GraftError } from '@graft-peft/core'
import { diskError, printable } from '@graft-peft/core/inside'
import { benchCommand } from './commands/bench.js'
import { chatCommand } from './commands/chat.js'
import { combineCommand } from './commands/combine.js'
import { compareCommand } from './commands/compare.js'
import { convertCommand } from './commands/convert.js'
import { doctorCommand } from './commands/doctor.js'
import { estimateCommand } from './commands/estimate.js'
import { evaluateCommand } from './commands/evaluate.js'
import { exportCommand } from './commands/export.js'
import { generateCommand } from './commands/generate.js'
import { inspectCommand } from './commands/inspect.js'
import { mergeCommand } from './commands/merge.js'
import { methodsCommand } from './commands/methods.js'
import { modelsCommand } from './commands/models.js'
import { newCommand } from './commands/new.js'
import { predictCommand } from './commands/predict.js'
import { previewCommand } from './commands/preview.js'
import { pullCommand } from './commands/pull.js'
import { pushCommand } from './commands/push.js'
import { runCommand } from './commands/run.js'
import { trainCommand } from './commands/train.js'
import { unmergeCommand } from './commands/unmerge.js'
import { verifyCommand } from './commands/verify.js'
import { workerCommand } from './commands/worker.js'
import { OutputBroken, settleOutput } from './output.js'
import { version } from './manifest.js'

const commands = [
  trainCommand,
  compareCommand,
  previewCommand,
  estimateCommand,
  predictCommand,
  evaluateCommand,
  generateCommand,
  chatCommand,
  mergeCommand,
  unmergeCommand,
  combineCommand,
  convertCommand,
  exportCommand,
  pullCommand,
  pushCommand,
  inspectCommand,
  methodsCommand,
  modelsCommand,
  newCommand,
  verifyCommand,
  benchCommand,
  doctorCommand,
  workerCommand,
]

/** The command with all its own; `exit` is called by one that ends in anything but success. */
export function program(exit: (code: number) => void): Command {
  const all = new Command('graft')
    .description('Parameter-efficient fine-tuning of ONNX models, on stock ONNX Runtime.')
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
  for (const command of commands) all.addCommand(command(exit).exitOverride())
  return all.addCommand(runCommand(exit).exitOverride(), { hidden: true })
}

/** Runs one command line; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
export async function main(argv: readonly string[]): Promise<number> {
  let code = 0
  try {
    await program((c) => (code = c)).parseAsync(argv)
    await settleOutput()
    return code
  } catch (error) {
    return explain(error)
  }
}

function explain(thrown: unknown): number {
  const error = diskError(thrown)
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof OutputBroken && error.isReaderGone) return 0
  if (error instanceof OutputBroken) {
    process.stderr.write(`\ngraft: ${error.message}\n`)
    return 1
  }
  if (error instanceof GraftError) {
    process.stderr.write(`\ngraft: ${error.message} [${error.code}]\n`)
    return 1
  }
  process.stderr.write(
    `\ngraft: this should not have happened; please report it with the lines below.\n${printable(String((error as Error)?.stack ?? error))}\n`,
  )
  return 1
}
