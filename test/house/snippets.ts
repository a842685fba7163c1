import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { example, root, temporaryFolder } from '../fixture.js'

/** A block of code on a page: its language, what stands behind it on the fence, its text, and the line it starts on. */
export interface Snippet {
  language: string
  file?: string
  text: string
  line: number
}

/** The fenced blocks of a page. */
export function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w+)?(?: file=(\S+))?\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    file: match[2],
    text: match[3],
    line: text.slice(0, match.index).split('\n').length,
  }))
}

/** The example of the README copied, with Graft installed beside it and the programs of a page written into it. */
export function programsOf(page: string): { folder: string; files: string[] } {
  const folder = temporaryFolder()
  cpSync(example, folder, { recursive: true, filter: (path) => !path.endsWith('/out') })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const programs = snippetsOf(page).filter(({ file }) => file)
  for (const { file, text } of programs) writeFileSync(join(folder, file as string), text)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  return { folder, files: programs.map(({ file }) => file as string) }
}
