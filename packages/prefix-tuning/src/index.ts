import adaptionPrompt from './adaption-prompt.js'
import cartridge from './cartridge.js'
import prefixTuning from './prefix-tuning.js'

export { adaptionPrompt, cartridge, prefixTuning }
export default [prefixTuning, cartridge, adaptionPrompt]
