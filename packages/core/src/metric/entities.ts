/** Entities of one text by their labels B-x, I-x, O (or bare names, each run one entity): "start end type". */
export function entities(labels: readonly string[]): Set<string> {
  const found = new Set<string>()
  let start = -1
  let type = ''
  const close = (end: number) => {
    if (start >= 0) found.add(`${start} ${end} ${type}`)
    start = -1
  }
  labels.forEach((label, i) => {
    const [, mark, name] = label.match(/^([BIES])-(.*)$/) ?? ['', '', label]
    const outside = label === 'O'
    if (start >= 0 && (outside || mark === 'B' || mark === 'S' || name !== type)) close(i)
    if (!outside && start < 0) [start, type] = [i, name]
  })
  close(labels.length)
  return found
}
/** The type of one of them. */
export const entityType = (entity: string): string => entity.split(' ').slice(2).join(' ')
