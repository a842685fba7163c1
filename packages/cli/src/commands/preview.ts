import { tmpdir } from 'node:os'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { loadConfig, preview, type Preview, type PreviewedExample } from '@graft-peft/core/app'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { read, whole } from '../numbers.js'
import { printJson, printLine, thousands } from '../output.js'
import { pulling } from '../progress.js'

export const previewCommand: CommandMaker = () =>
  new Command('preview')
    .description(
      'show what a config makes of its data: some examples as the model sees them, with the tokens that are learnt marked, and counts',
    )
    .argument('<config>', 'YAML file, as for graft train')
    .argument('[overrides...]', 'key=value pairs that replace keys of the config')
    .option('-n, --examples <n>', 'examples to show', read(whole), 3)
    .option('--json', 'print everything as one JSON object')
    .addHelpText(
      'after',
      examples('graft preview config.yaml', 'graft preview config.yaml -n 10 data.train_on_prompt=true'),
    )
    .action(async (path: string, overrides: string[], flags: { examples: number; json?: boolean }) => {
      const registry = defaultRegistry()
      const config = await loadConfig(path, registry, overrides, pulling())
      // Nothing is trained here, so nothing is written where the run will write.
      const output = mkdtempSync(join(tmpdir(), 'graft-preview-'))
      try {
        const found = await preview({ ...config, output }, registry, flags.examples)
        if (flags.json) printJson(found)
        else show(found)
      } finally {
        rmSync(output, { recursive: true, force: true })
      }
    })

/** Colour where there is one; without, brackets say the same. */
const coloured = process.stdout.isTTY && !process.env.NO_COLOR
const marked = (text: string): string => (coloured ? `\x1b[30;42m${text}\x1b[0m` : `⟦${text}⟧`)

function show({ objective, reason, notices, examples: shown, reports, max_length, labels }: Preview): void {
  shown.forEach((example, i) => showExample(example, i))
  printLine(`Objective   ${objective}, ${reason}${labels.length > 0 ? `; ${labels.length} labels` : ''}`)
  for (const text of notices) printLine(`Note        ${text}`)
  for (const [part, r] of Object.entries(reports)) {
    const packed = r.rows !== r.examples - r.unsupervised ? ` in ${thousands(r.rows)} rows` : ''
    printLine(
      `${part.padEnd(11)} ${thousands(r.examples)} examples${packed}, ${thousands(r.tokens)} tokens, ${thousands(r.supervised)} learnt, longest ${r.longest} of at most ${max_length}`,
    )
    if (r.truncated > 0)
      printLine(
        `            ${thousands(r.truncated)} examples cut to ${max_length} tokens (data.max_length)`,
      )
    for (const [what, n] of Object.entries(r.left)) printLine(`            left out: ${thousands(n)} ${what}`)
  }
}
function showExample({ stretches, tokens, supervised, answer }: PreviewedExample, i: number): void {
  printLine(`── example ${i + 1}: ${tokens} tokens, ${supervised} learnt ${'─'.repeat(30)}`)
  printLine(stretches.map((s) => (s.supervised ? marked(s.text) : s.text)).join(''))
  if (answer !== undefined) printLine(`→ ${marked(answer)}`)
  printLine()
}
