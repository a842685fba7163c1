import type { Builder, Value } from '@graft-peft/core'

/** Sines and cosines of positions: half of the features each (Vaswani et al., 2017, arXiv 1706.03762). */
export function sinusoids(
  g: Builder,
  rows: number,
  width: number,
  { frequency, zero }: { frequency: (i: number) => number; zero?: number },
): Value {
  const half = Math.ceil(width / 2)
  const values = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < half && row !== zero; i++) {
      const angle = row * frequency(i)
      values[row * width + i] = Math.sin(angle)
      if (half + i < width) values[row * width + half + i] = Math.cos(angle)
    }
  const data = { bytes: new Uint8Array(values.buffer) }
  return g.graph.addConstant('sinusoids', { dtype: 'float32', shape: [rows, width], data })
}
/** As Marian and Pegasus have them: 10000^(−2i/width). */
export const evenFrequency =
  (width: number) =>
  (i: number): number =>
    10000 ** ((-2 * i) / width)
/** As fairseq has them: from 1 to 1/10000 over half the features; in float32, as torch computes it. */
export const fairseqFrequency = (width: number): ((i: number) => number) => {
  const { fround } = Math
  const step = Math.log(10000) / (Math.floor(width / 2) - 1)
  return (i) => fround(Math.exp(fround(i * -step)))
}
