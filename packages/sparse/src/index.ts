import fourierft from './fourierft.js'
import shira from './shira.js'
import supertuning from './supertuning.js'
import waveft from './waveft.js'

export { fourierft, shira, supertuning, waveft }
export default [shira, fourierft, waveft, supertuning]
