import { readdirSync } from 'node:fs'
import { extname, join, relative, resolve, sep } from 'node:path'
import { GraftError } from '../errors.js'
import type { DataRecord, Notice } from './records.js'

const images: ReadonlySet<string> = new Set(
  ['png', 'jpg', 'jpeg', 'webp', 'gif', 'avif', 'tif', 'tiff', 'bmp'].map((e) => `.${e}`),
)
/** Images that can't be read, so that leaving them out would train on other data than the folder holds. */
const unread: ReadonlySet<string> = new Set([
  '.heic',
  '.heif',
  '.jxl',
  '.jp2',
  '.psd',
  '.raw',
  '.dng',
  '.cr2',
  '.nef',
])

/** A folder per label with image files in it, or a folder of images without labels, in the order of their names. Throws BAD_DATA_LINE, BAD_IMAGE. */
export async function* imageFolder(path: string, notice: Notice): AsyncGenerator<DataRecord> {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())
  const ending = (name: string) => extname(name).toLowerCase()
  const foreign = files.find((e) => unread.has(ending(e.name)))
  if (foreign)
    throw new GraftError(
      'BAD_IMAGE',
      `${join(foreign.parentPath, foreign.name)}: ${ending(foreign.name)} images are not read. Convert them to JPEG or PNG, or take them out of the folder.`,
    )
  const others = files.filter((e) => !images.has(ending(e.name)) && !e.name.startsWith('.'))
  if (others.length > 0)
    notice(`${path}: ${others.length} files that are no images are not read, such as ${others[0].name}.`)
  const paths = files.filter((e) => images.has(ending(e.name))).map((e) => join(e.parentPath, e.name))
  const labelled = paths.some((file) => relative(path, file).includes(sep))
  for (const file of paths.sort()) {
    const image = resolve(file)
    const [label, ...rest] = relative(path, file).split(sep)
    if (!labelled) {
      yield { fields: { image }, where: file }
      continue
    }
    if (rest.length === 0)
      throw new GraftError(
        'BAD_DATA_LINE',
        `${file}: lies in no folder that says its label; expected ${join(path, 'LABEL', label)}.`,
      )
    yield { fields: { image, label }, where: file }
  }
}
