// Puts the methods' pages into the command line's package, which is where `graft methods NAME` finds them once it is installed.
import { cpSync } from 'node:fs'

const here = (path) => new URL(path, import.meta.url)
cpSync(here('../docs/methods'), here('../packages/cli/docs/methods'), { recursive: true })
