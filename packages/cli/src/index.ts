export * from '@graft/core'
export { defaultRegistry } from './builtins.js'
