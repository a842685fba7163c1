// Reads what ONNX Runtime's profiler wrote.

/** Each node that ran: its operator, where it ran, milliseconds. */
export function profileOf(events) {
  return events
    .filter(({ cat, name }) => cat === 'Node' && name.endsWith('_kernel_time'))
    .map(({ dur, args }) => ({
      op: args.op_name,
      provider: args.provider.replace('ExecutionProvider', ''),
      ms: dur / 1000,
    }))
}

/** Count and milliseconds by what `of` says of a node, the greatest first. */
export function sum(events, of) {
  const found = new Map()
  for (const event of events) {
    const { count, ms } = found.get(of(event)) ?? { count: 0, ms: 0 }
    found.set(of(event), { count: count + 1, ms: ms + event.ms })
  }
  return Object.fromEntries([...found].sort(([, a], [, b]) => b.ms - a.ms).slice(0, 25))
}
