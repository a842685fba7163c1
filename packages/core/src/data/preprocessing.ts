import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError } from '../errors.js'
import { readObject } from '../files/json.js'
import { type Bitmap, centreCrop, isFilter, resize } from './resample.js'

/** How a model wants its images: preprocessor_config.json as transformers' image processors read it. */
interface Settings {
  do_resize: boolean
  size: Record<string, number>
  resample: number
  do_center_crop: boolean
  crop_size: Record<string, number>
  do_rescale: boolean
  rescale_factor: number
  do_normalize: boolean
  image_mean: readonly number[]
  image_std: readonly number[]
}

const half = [0.5, 0.5, 0.5]
const common = {
  ...{ do_resize: true, do_rescale: true, do_normalize: true, do_center_crop: false },
  ...{ rescale_factor: 1 / 255, image_mean: half, image_std: half },
}
const square = (n: number) => ({ height: n, width: n })
const vit: Settings = { ...common, size: square(224), resample: 2, crop_size: square(224) }
const clip: Settings = {
  ...vit,
  ...{ size: { shortest_edge: 224 }, resample: 3, do_center_crop: true },
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
}
/** What transformers' classes have where the file says nothing. */
const defaults: Readonly<Record<string, Settings>> = {
  vit,
  clip,
  deit: { ...vit, size: square(256), resample: 3, do_center_crop: true },
}
/** Keys that change no pixel, or only say how a file is to be handed over. */
const idle: ReadonlySet<string> = new Set([
  ...[
    'image_processor_type',
    'feature_extractor_type',
    'processor_class',
    '_valid_processor_keys',
    'do_convert_rgb',
  ],
  ...[
    'data_format',
    'input_data_format',
    'default_to_square',
    'device',
    'return_tensors',
    'disable_grouping',
  ],
  ...['image_seq_length', '_processor_class', 'auto_map', 'antialias'],
])

const known = new Map<string, Settings>()

/** An image as the model was trained on it: [channels, height, width]. Throws BAD_IMAGE_CONFIG. */
export function pixelsOf(
  image: Bitmap,
  [channels, height, width]: readonly number[],
  folder: string,
): Float32Array {
  const settings = known.get(folder) ?? read(folder, { height, width })
  known.set(folder, settings)
  const fitted = fit(image, settings)
  if (fitted.width !== width || fitted.height !== height)
    throw fault(
      folder,
      `it makes images of ${fitted.height} × ${fitted.width}, the model takes ${height} × ${width}. Mend size or crop_size.`,
    )
  return normalised(fitted, channels, settings)
}

function fit(image: Bitmap, { do_resize, size, resample, do_center_crop, crop_size }: Settings): Bitmap {
  const [height, width] = do_resize ? target(image, size) : [image.height, image.width]
  const resized = do_resize ? resize(image, width, height, resample) : image
  return do_center_crop ? centreCrop(resized, crop_size.width, crop_size.height) : resized
}
/** [height, width] after resizing: as given, or the shorter side as given and the other in proportion. */
function target({ width, height }: Bitmap, size: Record<string, number>): [number, number] {
  if (size.height && size.width) return [size.height, size.width]
  const short = size.shortest_edge
  return width <= height
    ? [Math.trunc((short * height) / width), short]
    : [short, Math.trunc((short * width) / height)]
}

/** Each step in float32, as NumPy has it. */
function normalised(
  { width, height, data, channels: stored }: Bitmap,
  channels: number,
  s: Settings,
): Float32Array {
  const result = new Float32Array(channels * height * width)
  const [mean, deviation] = [s.image_mean, s.image_std].map((list) => list.map(Math.fround))
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < height * width; i++) {
      const raw = data[i * stored + c]
      const scaled = s.do_rescale ? Math.fround(raw * s.rescale_factor) : raw
      result[c * height * width + i] = s.do_normalize
        ? Math.fround(Math.fround(scaled - mean[c]) / deviation[c])
        : scaled
    }
  return result
}

function read(folder: string, model: Record<string, number>): Settings {
  const config = json(join(folder, 'preprocessor_config.json'))
  const kind = String(config.image_processor_type ?? config.feature_extractor_type ?? modelType(folder))
  const name = kind.toLowerCase().replace(/(imageprocessor|featureextractor)(fast|pil)?$/, '')
  const base = defaults[name]
  const given = Object.fromEntries(Object.entries(config).filter(([, v]) => v !== null))
  checkKeys(folder, given, base, kind)
  const settings = { ...(base ?? vit), ...(Object.keys(given).length > 0 ? {} : { size: model }), ...given }
  return checked(folder, { ...settings, ...sizes(settings, name) } as Settings)
}
/** Older files have one number for a size. */
function sizes({ size, crop_size }: Record<string, unknown>, name: string): Partial<Settings> {
  const of = (v: unknown, whole: boolean) =>
    typeof v !== 'number' ? v : whole ? square(v) : { shortest_edge: v }
  return { size: of(size, name !== 'clip'), crop_size: of(crop_size, true) } as Partial<Settings>
}

/** A key that is read by no step here and is on would change the pixels. */
function checkKeys(
  folder: string,
  given: Record<string, unknown>,
  base: Settings | undefined,
  kind: string,
): void {
  const foreign = Object.entries(given).filter(
    ([key, v]) => !(key in vit) && !idle.has(key) && v !== false && v !== 0 && !isEmpty(v),
  )
  if (foreign.length > 0)
    throw fault(folder, `key ${foreign.map(([key]) => key).join(', ')} is not supported.`)
  const needed = ['size', 'resample', 'image_mean', 'image_std'].filter((key) => !(key in given))
  if (!base && Object.keys(given).length > 0 && needed.length > 0)
    throw fault(
      folder,
      `image processor ${kind} is not known here, so ${needed.join(', ')} can't be left out. Known: ${Object.keys(defaults).join(', ')}.`,
    )
}
const isEmpty = (v: unknown): boolean => typeof v === 'object' && v !== null && Object.keys(v).length === 0

function checked(folder: string, s: Settings): Settings {
  const wrong = (key: keyof Settings, expected: string) =>
    fault(folder, `${key} should be ${expected}, got ${JSON.stringify(s[key])}.`)
  if (!isFilter(s.resample)) throw wrong('resample', "one of Pillow's filters, 0 to 5")
  const { height, width, shortest_edge, ...others } = s.size
  if (s.do_resize && (!((height && width) || shortest_edge) || Object.keys(others).length > 0))
    throw wrong('size', 'height and width, or shortest_edge')
  if (s.do_center_crop && !(s.crop_size.height && s.crop_size.width))
    throw wrong('crop_size', 'height and width')
  for (const key of ['image_mean', 'image_std'] as const)
    if (s.do_normalize && !(Array.isArray(s[key]) && s[key].every((n) => typeof n === 'number')))
      throw wrong(key, 'a list of numbers')
  if (typeof s.rescale_factor !== 'number') throw wrong('rescale_factor', 'a number')
  return s
}

const json = (path: string): Record<string, unknown> =>
  existsSync(path) ? readObject(path, 'BAD_IMAGE_CONFIG') : {}
const modelType = (folder: string): unknown => json(join(folder, 'config.json')).model_type
const fault = (folder: string, message: string) =>
  new GraftError('BAD_IMAGE_CONFIG', `${join(folder, 'preprocessor_config.json')}: ${message}`)
