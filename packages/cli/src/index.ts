/** All that plugins and programs import, and what is built in. */
export * from '@graft-peft/core'
export * from '@graft-peft/core/app'
export { defaultRegistry } from './builtins.js'
