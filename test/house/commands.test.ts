import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { delimiter, join } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { program } from '../../packages/cli/dist/main.js'
import { example, root, temporaryFolder } from '../fixture.js'
import { snippetsOf } from './snippets.js'

const pages = ['README.md', 'CONTRIBUTING.md', 'AGENTS.md', 'ARCHITECTURE.md']
  .concat(readdirSync(join(root, 'docs'), { recursive: true }).map((file) => `docs/${file}`))
  .filter((page) => page.endsWith('.md'))

/** A line of a shell with its comment taken off, cut into words; quotes hold words together. */
const words = (line: string): string[] =>
  [...line.replace(/ +#.*$/, '').matchAll(/"([^"]*)"|'([^']*)'|[^\s"']+/g)].map(
    ([all, double, single]) => double ?? single ?? all,
  )

/** What follows `graft` in a command, up to the next: `npx graft …`, or behind a pipe or &&. */
function graftIn(line: string): string[][] {
  const commands: string[][] = [[]]
  for (const word of words(line))
    if (/^(\||&&|;)$/.test(word)) commands.push([])
    else commands.at(-1)?.push(word)
  return commands
    .map((command) => command.slice(command[0] === 'npx' ? 1 : 0))
    .filter(([name]) => name === 'graft' || name === 'graft-peft')
    .map((command) => command.slice(1))
}

/** What the real command says against its arguments; nothing is run. */
async function complaint(args: readonly string[]): Promise<string | undefined> {
  const graft = program(() => {})
  const still = (command: Command) => {
    command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} })
    if (command.commands.length === 0) command.action(() => {})
    command.commands.forEach(still)
  }
  still(graft)
  try {
    await graft.parseAsync(['node', 'graft', ...args])
  } catch (error) {
    return (error as Error).message
  }
}

const shells = pages.flatMap((page) =>
  snippetsOf(page)
    .filter(({ language }) => /^(sh|bash|shell|console)$/.test(language))
    .map(({ text, line }) => ({ page, line, lines: text.trimEnd().split('\n') })),
)

describe('commands on the pages', () => {
  it('are there to be looked at', () => {
    expect(shells.flatMap(({ lines }) => lines.flatMap(graftIn)).length).toBeGreaterThan(20)
  })
  it.each(shells)('$page:$line has arguments that the command takes', async ({ page, line, lines }) => {
    for (const [i, text] of lines.entries())
      for (const args of graftIn(text))
        expect(await complaint(args), `${page}:${line + i + 1}: ${text}`).toBeUndefined()
  })

  it.each(pages)('%s: commands in its sentences have names and flags that exist', async (page) => {
    const text = readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```$/gm, '')
    for (const [, said] of text.matchAll(/`(?:npx )?graft(?:-peft)? ([^`]+)`/g)) {
      const found = await complaint(words(said.replace('…', '')))
      if (!/missing required argument|required option|argument missing/.test(found ?? ''))
        expect(found, said).toBeUndefined()
    }
  })

  it('tells a wrong flag, a wrong command and a missing argument', async () => {
    expect(await complaint(['train', 'config.yaml', '--fast'])).toMatch(/--fast/)
    expect(await complaint(['tame'])).toMatch(/tame/)
    expect(await complaint(['merge'])).toMatch(/missing required argument/)
  })
})

/** Lines of README's example that would train in full: a comparison, a run to be gone on with. */
const long = /graft compare|--resume/

describe('README, as written', () => {
  it('does in a copy of its example what it says, on fewer steps', () => {
    const folder = temporaryFolder()
    cpSync(example, folder, { recursive: true, filter: (path) => !path.endsWith('/out') })
    const PATH = `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH}`
    const run = (line: string) => {
      const short = line.replace(/ *#.*$/, '').replace('training.epochs=8', 'training.max_steps=1')
      const { status, stdout, stderr } = spawnSync(
        short.replace('graft train config.yaml', '$& data.validation=0.02'),
        { cwd: folder, shell: true, encoding: 'utf8', env: { ...process.env, PATH } },
      )
      expect(status, `${line}\n${stdout}\n${stderr}`).toBe(0)
      return stdout
    }
    run('graft train config.yaml training.max_steps=2')
    const steps = shells.find(
      ({ page, lines }) => page === 'README.md' && lines[0].startsWith('cd examples/'),
    )
    const said = steps?.lines.slice(1).map((line) => (long.test(line) ? '' : run(line))) ?? []
    expect(said[1]).toMatch(/^\{.*"prediction"/)
    expect(existsSync(join(folder, 'out/merged'))).toBe(true)
    expect(existsSync(join(folder, 'out/longer/adapter'))).toBe(true)
  })
})
