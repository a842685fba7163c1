import fourierft from './fourierft.js'
import shira from './shira.js'

export { fourierft, shira }
export default [shira, fourierft]
