import boft from './boft.js'
import hra from './hra.js'
import oft from './oft.js'
import osf from './osf.js'
import psoft from './psoft.js'
import road from './road.js'

export { boft, hra, oft, osf, psoft, road }
export default [oft, boft, hra, road, osf, psoft]
