import poly from './poly.js'

export { poly }
export default [poly]
