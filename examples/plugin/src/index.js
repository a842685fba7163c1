import scaleShift from './scale-shift.js'
import smoothedClassification from './smoothed-classification.js'

export default [scaleShift, smoothedClassification]
