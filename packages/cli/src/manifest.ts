import { readFileSync } from 'node:fs'

/** The package's own manifest. */
export const { version, dependencies } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string; dependencies: Record<string, string> }
