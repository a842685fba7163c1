import beft from './beft.js'
import bitfit from './bitfit.js'
import full from './full.js'
import lnTuning from './ln-tuning.js'
import trainableTokens from './trainable-tokens.js'

export { beft, bitfit, full, lnTuning, trainableTokens }
export default [full, bitfit, lnTuning, trainableTokens, beft]
