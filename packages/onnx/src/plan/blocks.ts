import type { Node } from '../graph/types.js'

/** The layer a node belongs to: the module under the first number of its path ("model.layers.5"); undefined for what stands outside layers. */
export const blockOf = (node: Node | undefined): string | undefined =>
  node?.scope.match(/^(?:.*?\.)?\d+(?=[./]|$)/)?.[0]
