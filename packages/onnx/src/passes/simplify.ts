import { Builder } from '../graph/builder.js'
import type { Graph } from '../graph/graph.js'
import { foldShapes } from './fold-shapes.js'
import { fuse } from './fuse.js'
import { recognise } from './recognise.js'

/** Brings an imported graph to the form Graft differentiates: shapes folded, known patterns recognised, products fused. */
export function simplify(graph: Graph): void {
  const builder = new Builder(graph)
  foldShapes(builder)
  recognise(builder)
  fuse(builder)
}
