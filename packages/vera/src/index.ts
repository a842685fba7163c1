import randlora from './randlora.js'
import vera from './vera.js'

export { randlora, vera }
export default [vera, randlora]
