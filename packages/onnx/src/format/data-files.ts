import { basename } from 'node:path'
import { AtomicFile } from './atomic.js'

/** Where a constant's bytes lie beside its model. */
export interface DataPlace {
  location: string
  offset: number
  length: number
}

/** What one file holds at most: browsers take no buffer of 2 GiB. */
export const mostBytes = 2 ** 31 - 2 ** 16
/** Places start on pages, so that they can be mapped. */
const page = 4096

/** The files that hold a model's weights beside it: `path`_data, `path`_data_1, …, each whole or absent. */
export class DataFiles {
  readonly names: string[] = []
  private readonly files: AtomicFile[] = []
  private end = 0
  constructor(
    private readonly path: string,
    private readonly most: number,
  ) {}

  /** A place for so many bytes; in a new file where they don't fit into the last. */
  take(length: number): DataPlace & { file: AtomicFile } {
    const next = Math.ceil(this.end / page) * page
    const fits = this.files.length > 0 && (next === 0 || next + length <= this.most)
    if (!fits) this.open()
    const offset = fits ? next : 0
    this.end = offset + length
    return {
      file: this.files[this.files.length - 1],
      location: this.names[this.names.length - 1],
      offset,
      length,
    }
  }
  private open(): void {
    const path = `${this.path}_data${this.files.length === 0 ? '' : `_${this.files.length}`}`
    this.files.push(new AtomicFile(path))
    this.names.push(basename(path))
  }
  finish(): void {
    for (const file of this.files) file.finish()
  }
  discard(): void {
    for (const file of this.files) file.discard()
  }
}
