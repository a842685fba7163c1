import type { OpenedAdapter } from '../adapter/open.js'
import { Coder, defaultMaxLength } from '../data/coder.js'

/** Makes examples of records as an adapter's training did. */
export const coderOf = ({ model, labels, columns, max_length, options }: OpenedAdapter): Coder =>
  new Coder(model, labels, {
    columns,
    max_length: max_length ?? defaultMaxLength(model),
    train_on_prompt: false,
    tasks: options.method.tasks?.(options.methodOptions),
  })
