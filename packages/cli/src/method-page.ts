import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { PeftMethod } from '@graft-peft/core'

/** Where pages lie: in the package, and in the repository that it is made in. */
const folders = ['../docs/methods/', '../../../docs/methods/'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
)

/** A method's page; of a plugin that has none here, what it says of itself. */
export function methodPage(method: PeftMethod): string {
  const file = folders.map((folder) => `${folder}${method.name}.md`).find(existsSync)
  return file ? readFileSync(file, 'utf8') : described(method)
}

function described({ name, summary, paper, learningRate, mergeable, configSchema }: PeftMethod): string {
  const { properties = {} } = configSchema as { properties?: Record<string, { default?: unknown }> }
  const width = Math.max(...Object.keys(properties).map((key) => key.length))
  return `${[
    `# ${name}\n`,
    `${summary}.`,
    paper && `Paper: ${paper}`,
    learningRate && `Learning rate to start from: ${learningRate}`,
    mergeable ? 'graft merge folds it into the weights.' : 'It has no form in the weights.',
    '\nOptions and their defaults:\n',
    ...Object.entries(properties).map(
      ([key, { default: value }]) =>
        `  ${key.padEnd(width)}  ${value === undefined ? 'required' : JSON.stringify(value)}`,
    ),
  ]
    .filter(Boolean)
    .join('\n')}\n`
}
