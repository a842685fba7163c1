import loha from './loha.js'
import lokr from './lokr.js'

export { loha, lokr }
export default [loha, lokr]
