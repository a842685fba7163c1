import { launcher } from './launcher.js'

export { backOff } from './connection.js'
export { work, type WorkerOptions } from './worker.js'
export default launcher
