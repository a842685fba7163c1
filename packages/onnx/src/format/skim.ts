import { randomUUID } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { GraftError } from '../graph/errors.js'

/**
 * Reads an ONNX file without its large tensors: a tensor's raw_data stays on disk and becomes a record of where it lies
 * (external data pointing into the file itself). Only lengths and small fields are read, so opening a 2 GB model costs its graph.
 */

/** field numbers of the path ModelProto.graph → GraphProto.initializer → TensorProto.raw_data */
const GRAPH = 7
const INITIALIZER = 5
const RAW_DATA = 9
const EXTERNAL_DATA = 13
const DATA_LOCATION = 14
const largeTensor = 1024

interface Field {
  number: number
  /** where the whole field starts, where its payload starts, where it ends */
  start: number
  payload: number
  end: number
}

class Reader {
  private window = Buffer.alloc(0)
  private windowStart = 0
  constructor(
    private readonly fd: number,
    readonly size: number,
    readonly path: string,
  ) {}

  byte(at: number): number {
    if (at < this.windowStart || at >= this.windowStart + this.window.length) {
      this.window = Buffer.from(this.bytes(at, Math.min(65536, this.size - at)))
      this.windowStart = at
      if (this.window.length === 0) throw this.truncated(at)
    }
    return this.window[at - this.windowStart]
  }
  bytes(at: number, length: number): Uint8Array {
    const buffer = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const n = readSync(this.fd, buffer, done, length - done, at + done)
      if (n === 0) throw this.truncated(at + done)
      done += n
    }
    return buffer
  }
  varint(at: number): { value: number; next: number } {
    let value = 0
    for (let i = 0, factor = 1; i < 10; i++, factor *= 128) {
      const byte = this.byte(at + i)
      value += (byte & 127) * factor
      if (byte < 128) return { value, next: at + i + 1 }
    }
    throw this.malformed(at)
  }
  field(at: number, limit: number): Field {
    const tag = this.varint(at)
    const [number, wire] = [Math.floor(tag.value / 8), tag.value % 8]
    let payload = tag.next
    let end: number
    if (wire === 0) end = this.varint(payload).next
    else if (wire === 1) end = payload + 8
    else if (wire === 5) end = payload + 4
    else if (wire === 2) {
      const length = this.varint(payload)
      payload = length.next
      end = payload + length.value
    } else throw this.malformed(at)
    if (number === 0) throw this.malformed(at)
    if (end > limit) throw this.truncated(limit)
    return { number, start: at, payload, end }
  }
  *fields(start: number, end: number): Generator<Field> {
    for (let at = start; at < end; ) {
      const field = this.field(at, end)
      yield field
      at = field.end
    }
  }
  truncated = (at: number) =>
    new GraftError(
      'TRUNCATED_MODEL',
      `${this.path}: the file ends at byte ${this.size}, in the middle of the model (byte ${at}). Fetch or export it again.`,
    )
  malformed = (at: number) =>
    new GraftError('NOT_ONNX', `${this.path}: not an ONNX model (byte ${at} isn't protobuf).`)
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest]
    bytes.push((rest % 128) + 128)
  }
}
const delimited = (number: number, body: Uint8Array): Uint8Array[] => [
  Uint8Array.from([...varint(number * 8 + 2), ...varint(body.length)]),
  body,
]
function text(number: number, value: string): Uint8Array {
  return Buffer.concat(delimited(number, Buffer.from(value)))
}

/** A TensorProto with its raw bytes replaced by where they lie. */
function tensorRecord(reader: Reader, tensor: Field): Uint8Array | undefined {
  const parts: Uint8Array[] = []
  const fields = [...reader.fields(tensor.payload, tensor.end)]
  const stripped = fields.some((f) => f.number === RAW_DATA && f.end - f.payload >= largeTensor)
  for (const field of fields) {
    // Who says in so many words that the bytes are in the file (data_location DEFAULT) says it in vain now.
    if (stripped && (field.number === DATA_LOCATION || field.number === EXTERNAL_DATA)) continue
    if (field.number !== RAW_DATA || field.end - field.payload < largeTensor) {
      parts.push(reader.bytes(field.start, field.end - field.start))
      continue
    }
    const entries = {
      location: selfLocation,
      offset: `${field.payload}`,
      length: `${field.end - field.payload}`,
    }
    for (const [key, value] of Object.entries(entries))
      parts.push(...delimited(EXTERNAL_DATA, Buffer.concat([text(1, key), text(2, value)])))
    parts.push(Uint8Array.from([DATA_LOCATION * 8, 1]))
  }
  return stripped ? Buffer.concat(parts) : undefined
}

/** The location that stands for "this very file"; no file can know it. */
export const selfLocation = `\u0000${randomUUID()}`

function graphRecord(reader: Reader, graph: Field): Uint8Array {
  const parts: Uint8Array[] = []
  let copied = graph.payload
  for (const field of reader.fields(graph.payload, graph.end)) {
    if (field.number !== INITIALIZER || field.end - field.payload < largeTensor) continue
    const tensor = tensorRecord(reader, field)
    if (!tensor) continue
    parts.push(reader.bytes(copied, field.start - copied), ...delimited(INITIALIZER, tensor))
    copied = field.end
  }
  return Buffer.concat([...parts, reader.bytes(copied, graph.end - copied)])
}

/** The model's bytes without its large tensors. Throws TRUNCATED_MODEL or NOT_ONNX. */
export function skim(path: string): Uint8Array {
  const fd = openSync(path, 'r')
  try {
    const reader = new Reader(fd, fstatSync(fd).size, path)
    const parts: Uint8Array[] = []
    for (const field of reader.fields(0, reader.size)) {
      if (field.number === GRAPH) parts.push(...delimited(GRAPH, graphRecord(reader, field)))
      else parts.push(reader.bytes(field.start, field.end - field.start))
    }
    return Buffer.concat(parts)
  } finally {
    closeSync(fd)
  }
}
