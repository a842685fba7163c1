import { GraftError, nearest } from './errors.js'

/** What each kind of plugin must have, by the type of its members, beside kind, name and apiVersion. */
const members: Readonly<
  Record<string, Readonly<Record<string, 'function' | 'object' | 'string' | 'boolean'>>>
> = {
  method: {
    peftType: 'string',
    configSchema: 'object',
    startsAsIdentity: 'function',
    attach: 'function',
  },
  objective: { task: 'string', encode: 'function', build: 'function', supervise: 'function' },
  metric: { better: 'string', start: 'function' },
  architecture: { modelTypes: 'object', tasks: 'object', build: 'function' },
  tracker: { configSchema: 'object', open: 'function' },
  launcher: { configSchema: 'object', launch: 'function' },
  optimizer: { configSchema: 'object', create: 'function' },
  schedule: { configSchema: 'object', factor: 'function' },
  reader: { endings: 'object', read: 'function' },
}
/** Members that are called where no promise is waited for. */
const synchronous: readonly string[] = [
  'attach',
  'build',
  'encode',
  'supervise',
  'startsAsIdentity',
  'start',
  'create',
  'factor',
]

/** Throws BAD_PLUGIN for a plugin that lacks a member of its kind, or has it as another type. */
export function checkContract(plugin: Record<string, unknown>, origin: string): void {
  const { kind, name } = plugin as { kind: string; name: string }
  const bad = (what: string) =>
    new GraftError('BAD_PLUGIN', `${origin}: the ${kind} ${name} ${what}. This is a fault of ${origin}.`)
  for (const [member, type] of Object.entries({ name: 'string', ...members[kind] })) {
    const value = plugin[member]
    if (value === undefined) {
      const close = nearest(member, Object.keys(plugin))
      throw bad(`has no ${member}, which should be a ${type}${close ? `; it has ${close}` : ''}`)
    }
    if (typeof value !== type || value === '')
      throw bad(
        `has ${member} as ${value === '' ? 'an empty text' : `a ${typeof value}`}; expected a ${type}`,
      )
    if (synchronous.includes(member) && (value as object).constructor.name === 'AsyncFunction')
      throw bad(`has an async ${member}: it must return at once. What has to be awaited goes into prepare`)
  }
}
