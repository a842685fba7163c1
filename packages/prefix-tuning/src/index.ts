import cartridge from './cartridge.js'
import prefixTuning from './prefix-tuning.js'

export { cartridge, prefixTuning }
export default [prefixTuning, cartridge]
