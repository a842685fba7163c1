import type { PeftMethod } from '@graft/core'
const none: PeftMethod[] = []
export default none
