/** The greatest |aᵢ − bᵢ|; infinite where lengths differ, or where a difference is no number. */
export function greatestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let greatest = 0
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i])
    greatest = Math.max(greatest, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  return greatest
}
