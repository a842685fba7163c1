import cpt from './cpt.js'
import multitask from './multitask.js'
import promptTuning from './prompt-tuning.js'

export { cpt, multitask, promptTuning }
export default [promptTuning, multitask, cpt]
