/** A directed graph with capacities, for the cheapest set of edges that parts a source from a sink (Dinic, 1970). */
export class FlowGraph {
  private readonly heads: number[] = []
  private readonly room: number[] = []
  private readonly edges: number[][] = []

  vertex(): number {
    return this.edges.push([]) - 1
  }
  /** An edge and, at the odd number after it, its way back. */
  edge(from: number, to: number, capacity: number): void {
    this.edges[from].push(this.heads.push(to) - 1)
    this.room.push(capacity)
    this.edges[to].push(this.heads.push(from) - 1)
    this.room.push(0)
  }

  /** The vertices on the sink's side of the cheapest cut; of several cuts, the one nearest the sink. */
  sinkSide(source: number, sink: number): Set<number> {
    for (let level = this.levels(source, sink); level[sink] >= 0; level = this.levels(source, sink)) {
      const next = this.edges.map(() => 0)
      while (this.push(source, sink, level, next) > 0);
    }
    const reached = new Set([sink])
    for (const v of reached)
      for (const e of this.edges[v]) if (this.room[e ^ 1] > 0) reached.add(this.heads[e])
    return reached
  }

  private levels(source: number, sink: number): number[] {
    const level = this.edges.map(() => -1)
    level[source] = 0
    const queue = [source]
    for (const v of queue) {
      if (v === sink) break
      for (const e of this.edges[v]) {
        const to = this.heads[e]
        if (this.room[e] > 0 && level[to] < 0) {
          level[to] = level[v] + 1
          queue.push(to)
        }
      }
    }
    return level
  }

  /** Sends as much as fits along one path of rising levels. */
  private push(source: number, sink: number, level: readonly number[], next: number[]): number {
    const path: number[] = []
    let v = source
    while (v !== sink) {
      const e = this.edges[v][next[v]]
      if (e === undefined) {
        if (v === source) return 0
        const back = path.pop() as number
        v = this.heads[back ^ 1]
        next[v]++
      } else if (this.room[e] > 0 && level[this.heads[e]] === level[v] + 1) {
        path.push(e)
        v = this.heads[e]
      } else next[v]++
    }
    const amount = path.reduce((least, e) => Math.min(least, this.room[e]), Number.POSITIVE_INFINITY)
    for (const e of path) {
      this.room[e] -= amount
      this.room[e ^ 1] += amount
    }
    return amount
  }
}
