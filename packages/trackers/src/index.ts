import { jsonLines } from './json-lines.js'
import { mlflow } from './mlflow.js'
import { tensorboard } from './tensorboard.js'

export default [jsonLines, tensorboard, mlflow]
