import lily from './lily.js'
import tinylora from './tinylora.js'
import unilora from './unilora.js'
import vblora from './vblora.js'

export { lily, tinylora, unilora, vblora }
export default [vblora, tinylora, unilora, lily]
