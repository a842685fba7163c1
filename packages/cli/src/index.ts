export * from '@graft-peft/core'
export { defaultRegistry } from './builtins.js'
