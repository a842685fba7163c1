import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readPixels } from '@graft-peft/core/inside'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../fixture.js'

interface Golden {
  files: Record<string, Record<string, string>>
  cases: Record<string, { config: object; pixels: Record<string, number[]> }>
}
const { files, cases } = JSON.parse(readFileSync(new URL('pixels.json', import.meta.url), 'utf8')) as Golden
const shape = [3, 8, 8]
let folder: string
const model = (name: string, config: object) => {
  const path = join(folder, name)
  mkdirSync(path)
  writeFileSync(join(path, 'preprocessor_config.json'), JSON.stringify(config))
  return path
}
const pixels = (file: string, of: string) =>
  readPixels({ file: join(folder, file), where: 'data.jsonl:1' }, shape, of)
const furthest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i])))

beforeAll(() => {
  folder = temporaryFolder()
  for (const [name, kinds] of Object.entries(files))
    for (const [kind, text] of Object.entries(kinds))
      writeFileSync(join(folder, `${name}.${kind}`), Buffer.from(text, 'base64'))
})

describe("pixels are those of transformers' image processors", () => {
  for (const [name, { config, pixels: wanted }] of Object.entries(cases))
    it(name, async () => {
      const of = model(name, config)
      for (const [image, values] of Object.entries(wanted))
        expect(furthest(await pixels(`${image}.png`, of), values), image).toBeLessThan(2e-6 * 255)
    })
})

describe('images', () => {
  it('a BMP is read as the PNG of the same picture', async () => {
    const of = model('bmp', cases['resample 3'].config)
    expect(furthest(await pixels('wide.bmp', of), await pixels('wide.png', of))).toBe(0)
  })
  it('a photo is turned upright as its EXIF says', async () => {
    const of = model('exif', cases['resample 2'].config)
    const upright = sharp(join(folder, 'tall.png'))
    await upright.clone().png().toFile(join(folder, 'upright.png'))
    await upright
      .clone()
      .rotate(270)
      .withMetadata({ orientation: 6 })
      .png()
      .toFile(join(folder, 'turned.png'))
    expect(furthest(await pixels('turned.png', of), await pixels('upright.png', of))).toBe(0)
  })
  it('a key that nothing here reads, or a size that the model does not take, is refused', async () => {
    const { config } = cases['resample 2']
    const refused = (name: string, more: object) =>
      pixels('wide.png', model(name, { ...config, ...more })).catch((e) => e.message)
    expect(await refused('foreign', { crop_pct: 0.9 })).toMatch(
      /preprocessor_config\.json: key crop_pct is not supported/,
    )
    expect(await refused('other', { size: { height: 9, width: 8 } })).toMatch(
      /makes images of 9 × 8, the model takes 8 × 8/,
    )
    expect(await refused('filter', { resample: 9 })).toMatch(/resample should be one of Pillow's filters/)
  })
})
