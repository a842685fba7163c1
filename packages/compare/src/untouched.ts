import { definePeftMethod } from '@graft-peft/core'

/** The base model as it is: the row that all others are measured from. Nothing of it is trained. */
export const untouched = definePeftMethod({
  name: 'base',
  apiVersion: 1,
  peftType: 'BASE',
  configSchema: { type: 'object', additionalProperties: false, properties: {} },
  startsAsIdentity: () => true,
  mergeable: false,
  summary: 'the base model as it is, for comparison',
  attach: () => ({}),
})
