import boft from './boft.js'
import hra from './hra.js'
import oft from './oft.js'

export { boft, hra, oft }
export default [oft, boft, hra]
