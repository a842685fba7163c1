import { decoders } from './decoders.js'
import { encoders } from './encoders.js'
import { experts } from './experts.js'
import { first } from './first.js'
import { images } from './images.js'
import { pairs } from './pairs.js'

/** Fields of transformers' config classes and their defaults, by model_type. */
export const configClasses: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...first,
  ...decoders,
  ...encoders,
  ...experts,
  ...images,
  ...pairs,
}
