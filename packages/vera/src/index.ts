import pvera from './pvera.js'
import randlora from './randlora.js'
import vera from './vera.js'

export { pvera, randlora, vera }
export default [vera, pvera, randlora]
