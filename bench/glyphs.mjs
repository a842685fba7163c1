// Digits and letters as strokes, drawn a little differently each time: a data set of images that needs no fonts and no download.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'

/** Paths in a box of 10 × 14. */
const digits = {
  0: 'M5 0 C1 0 0 3 0 7 C0 11 1 14 5 14 C9 14 10 11 10 7 C10 3 9 0 5 0',
  1: 'M2 3 L6 0 L6 14',
  2: 'M0 4 C0 1 2 0 5 0 C8 0 10 1 10 4 C10 7 4 9 0 14 L10 14',
  3: 'M0 2 C2 0 4 0 5 0 C8 0 9 1 9 3 C9 6 7 7 4 7 C7 7 10 8 10 11 C10 13 8 14 5 14 C3 14 1 13 0 12',
  4: 'M7 14 L7 0 L0 9 L10 9',
  5: 'M9 0 L1 0 L1 6 C3 5 4 5 5 5 C8 5 10 7 10 10 C10 13 8 14 5 14 C3 14 1 13 0 12',
  6: 'M8 0 C4 1 0 5 0 10 C0 13 2 14 5 14 C8 14 10 13 10 10 C10 7 8 6 5 6 C2 6 0 8 0 10',
  7: 'M0 0 L10 0 L4 14',
  8: 'M5 7 C2 7 1 5 1 3 C1 1 3 0 5 0 C7 0 9 1 9 3 C9 5 8 7 5 7 C2 7 0 8 0 11 C0 13 2 14 5 14 C8 14 10 13 10 11 C10 8 8 7 5 7',
  9: 'M10 4 C10 7 8 8 5 8 C2 8 0 7 0 4 C0 1 2 0 5 0 C8 0 10 1 10 4 C10 9 6 13 2 14',
}
const letters = {
  a: 'M0 14 L5 0 L10 14 M2 9 L8 9', c: 'M10 2 C7 -1 0 0 0 7 C0 14 7 15 10 12', e: 'M10 0 L0 0 L0 14 L10 14 M0 7 L8 7', f: 'M10 0 L0 0 L0 14 M0 7 L8 7',
  h: 'M0 0 L0 14 M10 0 L10 14 M0 7 L10 7', k: 'M0 0 L0 14 M10 0 L0 8 L10 14', l: 'M0 0 L0 14 L10 14', m: 'M0 14 L0 0 L5 8 L10 0 L10 14', n: 'M0 14 L0 0 L10 14 L10 0',
  p: 'M0 14 L0 0 C8 0 10 1 10 4 C10 7 8 8 0 8', s: 'M10 2 C7 -1 0 0 0 4 C0 8 10 6 10 10 C10 15 3 15 0 12', t: 'M0 0 L10 0 M5 0 L5 14', u: 'M0 0 L0 9 C0 15 10 15 10 9 L10 0', v: 'M0 0 L5 14 L10 0',
  x: 'M0 0 L10 14 M10 0 L0 14', z: 'M0 0 L10 0 L0 14 L10 14',
} // biome-ignore format: a table
export const alphabets = { digits, letters }

/** Draws `each` images of each glyph into a folder per glyph. `random` gives numbers in [0, 1). */
export async function drawGlyphs(folder, alphabet, each, size, random) {
  for (const [name, path] of Object.entries(alphabet)) {
    mkdirSync(join(folder, name), { recursive: true })
    for (let k = 0; k < each; k++) {
      const between = (a, b) => a + (b - a) * random()
      const scale = (size / 20) * between(0.75, 1.1)
      const move = `translate(${size / 2 + between(-2, 2)} ${size / 2 + between(-2, 2)}) rotate(${between(-18, 18)}) skewX(${between(-15, 15)}) scale(${scale * between(0.8, 1.1)} ${scale}) translate(-5 -7)`
      const noise = Array.from(
        { length: 12 },
        () =>
          `<circle cx="${between(0, size)}" cy="${between(0, size)}" r="${between(0.3, 1)}" fill="#${random() < 0.5 ? '999' : '444'}"/>`,
      ).join('')
      const image = `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><rect width="100%" height="100%" fill="#000"/>${noise}<path d="${path}" transform="${move}" fill="none" stroke="#fff" stroke-width="${between(1.1, 2.6)}" stroke-linecap="round" stroke-linejoin="round"/></svg>`
      writeFileSync(join(folder, name, `${k}.png`), await sharp(Buffer.from(image)).png().toBuffer())
    }
  }
}
