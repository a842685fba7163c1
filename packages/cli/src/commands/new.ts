import { existsSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { Command } from 'commander'
import { GraftError, writeAtomically } from '@graft-peft/core'
import { type CommandMaker, examples } from '../command.js'
import { printLine } from '../output.js'
import { methodPackage } from '../scaffold/method.js'
import { version } from '../manifest.js'
import { makeFolder } from '@graft-peft/core/inside'

const packageName = /^(@[a-z0-9][a-z0-9._-]*\/)?[a-z][a-z0-9._-]*$/

export const newCommand: CommandMaker = () =>
  new Command('new').description('start a package of your own').addCommand(
    new Command('method')
      .description(
        'write a package for a new method: it builds, passes the conformance kit and trains as it stands',
      )
      .argument('<name>', 'name of the package, as on npm')
      .option('--dir <folder>', 'where to write it (default: a folder of that name here)')
      .option('--model <path>', 'model that its train.yaml starts from', 'path/to/model')
      .addHelpText(
        'after',
        examples(
          'graft new method graft-method-mine',
          'graft new method mine --dir packages/mine --model ../model',
        ),
      )
      .action(
        (
          name: string,
          { dir = name.split('/').at(-1) as string, model }: { dir?: string; model: string },
        ) => {
          if (!packageName.test(name))
            throw new GraftError(
              'BAD_NAME',
              `${name} is not a package name: small letters, digits, dots, hyphens, starting with a letter, as in graft-method-mine.`,
            )
          if (existsSync(dir) && readdirSync(dir).length > 0)
            throw new GraftError('OUTPUT_EXISTS', `${dir} is not empty. Choose another folder with --dir.`)
          const near = existsSync(model) ? relative(resolve(dir), resolve(model)) : model
          for (const [path, text] of Object.entries(methodPackage(name, version, near))) {
            makeFolder(dirname(join(dir, path)))
            writeAtomically(join(dir, path), text)
          }
          printLine(
            `Wrote ${dir}. Next:\n  cd ${dir} && npm install\n  npm test          # builds it, runs the conformance kit\n  npm run train     # once train.yaml names a model\nThe method is src/index.ts.`,
          )
        },
      ),
  )
