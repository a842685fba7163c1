export { checkGradient, type CaseInput, type GradientCase, type GradientReport, gradientTolerance } from './gradients.js'
