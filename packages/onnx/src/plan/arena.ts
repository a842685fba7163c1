/** A piece of a region: in use or free. */
interface Chunk {
  region: number
  offset: number
  size: number
  used: boolean
  before?: Chunk
  after?: Chunk
}

/** Sizes are rounded up to this. */
const grain = 256
/** A free chunk less than twice as large as what is asked for is given whole, unless it wastes more than this. */
const greatestWaste = 128 * 2 ** 20

/**
 * ONNX Runtime's arena in thought (its BFCArena): regions of doubling size, the smallest free chunk that fits, neighbours joined when
 * freed. `touched` is how far each region has been written, which is what its memory comes to: what is freed isn't given back.
 */
export class Arena {
  touched = 0
  private next = 2 ** 20
  private readonly reach: number[] = []
  private readonly chunks = new Set<Chunk>()

  allocate(bytes: number): Chunk {
    const size = Math.max(1, Math.ceil(bytes / grain)) * grain
    const chunk = this.bestFit(size) ?? this.extend(size)
    this.chunks.delete(chunk)
    if (chunk.size >= 2 * size || chunk.size - size >= greatestWaste) this.split(chunk, size)
    chunk.used = true
    this.touch(chunk, size)
    return chunk
  }

  free(chunk: Chunk): void {
    chunk.used = false
    const { before, after } = chunk
    let whole = chunk
    if (after && !after.used) this.join(chunk, after)
    if (before && !before.used) {
      this.join(before, chunk)
      whole = before
    }
    this.chunks.add(whole)
  }

  /** The smallest free chunk that fits; of equal ones the first. */
  private bestFit(size: number): Chunk | undefined {
    let best: Chunk | undefined
    for (const c of this.chunks)
      if (
        c.size >= size &&
        (!best ||
          c.size < best.size ||
          (c.size === best.size &&
            (c.region < best.region || (c.region === best.region && c.offset < best.offset))))
      )
        best = c
    return best
  }

  private extend(size: number): Chunk {
    const fits = size <= this.next
    while (size > this.next) this.next *= 2
    const chunk: Chunk = { region: this.reach.push(0) - 1, offset: 0, size: this.next, used: false }
    if (fits) this.next *= 2
    return chunk
  }

  private split(chunk: Chunk, size: number): void {
    const rest: Chunk = {
      region: chunk.region,
      offset: chunk.offset + size,
      size: chunk.size - size,
      used: false,
      before: chunk,
      after: chunk.after,
    }
    if (chunk.after) chunk.after.before = rest
    chunk.after = rest
    chunk.size = size
    this.chunks.add(rest)
  }
  private join(left: Chunk, right: Chunk): void {
    left.size += right.size
    left.after = right.after
    if (right.after) right.after.before = left
    this.chunks.delete(right)
    this.chunks.delete(left)
  }

  private touch({ region, offset }: Chunk, size: number): void {
    const more = offset + size - this.reach[region]
    if (more <= 0) return
    this.touched += more
    this.reach[region] = offset + size
  }
}
