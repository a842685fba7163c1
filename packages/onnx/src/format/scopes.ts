import type { NodeProto } from './gen/onnx-ml_pb.js'

/** Where torch's exporter notes the modules a node lies in, outermost first, and the node itself. */
export const scopesKey = 'pkg.torch.onnx.name_scopes'

/** The module path an exporter left on a node: name scopes (torch's newer exporter) or the node's name (the older one). */
export function scopeOf(proto: NodeProto): string {
  const scopes = proto.metadataProps.find((p) => p.key === scopesKey)?.value
  if (scopes) {
    const names = [...scopes.matchAll(/'([^']*)'|"([^"]*)"/g)].map((m) => m[1] ?? m[2])
    return names[names.length - 2] ?? ''
  }
  return proto.name.startsWith('/') ? proto.name.split('/').slice(1, -1).join('.') : ''
}
