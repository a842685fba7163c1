import frod from './frod.js'
import lily from './lily.js'
import tinylora from './tinylora.js'
import unilora from './unilora.js'
import vblora from './vblora.js'

export { frod, lily, tinylora, unilora, vblora }
export default [vblora, tinylora, unilora, lily, frod]
