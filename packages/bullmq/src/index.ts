import { launcher } from './launcher.js'

export { work, type WorkerOptions } from './worker.js'
export default launcher
