import { GraftError } from '../errors.js'

/** What a Python expression writes otherwise than JavaScript's, by what it begins with. Undefined: as it stands. */
const spelling: Readonly<Record<string, string>> = { '\\Z': '(?![^])', '\\A': '(?<![^])' }

const known = new Map<string, RegExp>()
/** Python's regular expression (the re module) in JavaScript, to be matched against a whole text. Throws BAD_PATTERN. */
export function fullPattern(pattern: string): RegExp {
  const found = known.get(pattern)
  if (found) return found
  try {
    const { source, flags } = translated(pattern)
    const made = new RegExp(`^(?:${source})$`, flags)
    known.set(pattern, made)
    return made
  } catch (cause) {
    throw new GraftError(
      'BAD_PATTERN',
      `"${pattern}" is not a regular expression: ${(cause as Error).message}. A list of module names may be what you want.`,
      { cause },
    )
  }
}

/** Python's re.fullmatch. */
export const fullMatch = (pattern: string, text: string): boolean => fullPattern(pattern).test(text)

/** Named groups, flags, anchors, comments and open counts as JavaScript spells them. */
function translated(pattern: string): { source: string; flags: string } {
  const [whole, letters = ''] = pattern.match(/^\(\?([aiLmsux]+)\)/) ?? ['']
  if (letters.includes('x')) throw new Error('the flag x (verbose) is not read here')
  const body = pattern.slice(whole.length)
  const source = scoped(
    body.match(
      /\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?#[^)]*\)|\(\?P=\w+\)|\(\?P<|\(\?[a-zA-Z-]+:|\{,\d+\}|./gsu,
    ) ?? [],
  )
  return { source, flags: [...letters].filter((l) => 'ims'.includes(l)).join('') }
}

/** Tokens joined; letters within (?i:…) stand for both cases. */
function scoped(tokens: readonly string[]): string {
  const open: boolean[] = [false]
  return tokens
    .map((token) => {
      const inside = open.at(-1) as boolean
      if (token.startsWith('(?#')) return ''
      if (token.startsWith('(?P=')) return `\\k<${token.slice(4, -1)}>`
      if (token === ')') open.pop()
      if (!token.startsWith('(')) return inside ? bothCases(token) : plain(token)
      const flags = token.match(/^\(\?([a-zA-Z]*)(-[a-zA-Z]+)?:$/)
      open.push(flags ? (inside || flags[1].includes('i')) && !flags[2]?.includes('i') : inside)
      if (flags && /[^aiLu]/.test(flags[1])) throw new Error(`the group ${token} is not read here`)
      return flags ? '(?:' : plain(token)
    })
    .join('')
}
function plain(token: string): string {
  if (token === '(?P<') return '(?<'
  if (token.startsWith('{,')) return token.replace('{', '{0')
  return spelling[token] ?? token.replace(/^(\[\^?)\]/, '$1\\]')
}
function bothCases(token: string): string {
  const one = (letter: string) => `${letter.toLowerCase()}${letter.toUpperCase()}`
  if (/^[a-z]$/i.test(token)) return `[${one(token)}]`
  if (!token.startsWith('[')) return plain(token)
  return plain(token).replace(
    /\\.|([a-z])-([a-z])|[a-z]/gi,
    (part, from, to) =>
    part.startsWith('\\') ? part
    : from ? `${from.toLowerCase()}-${to.toLowerCase()}${from.toUpperCase()}-${to.toUpperCase()}`
    : one(part), // biome-ignore format: a table
  )
}
