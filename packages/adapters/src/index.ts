import bottleneck from './bottleneck.js'
import reft from './reft.js'

export { fromAdapterHub, toAdapterHub } from './hub.js'
export { bottleneck, reft }
export default [bottleneck, reft]
