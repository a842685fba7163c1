import adamss from './adamss.js'
import c3a from './c3a.js'
import deft from './deft.js'
import delora from './delora.js'
import glora from './glora.js'
import gralora from './gralora.js'
import hira from './hira.js'
import peanut from './peanut.js'

export { adamss, c3a, deft, delora, glora, gralora, hira, peanut }
export default [hira, gralora, delora, c3a, glora, peanut, deft, adamss]
