import { appendFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { defineTracker } from '@graft-peft/core'
import { record } from './records.js'
import { makeFolder } from '@graft-peft/core/inside'

/** TensorBoard's event files, in the run's folder: tensorboard --logdir OUT. */
export const tensorboard = defineTracker({
  name: 'tensorboard',
  summary: "TensorBoard event files in the run's folder",
  configSchema: { type: 'object', additionalProperties: false, properties: {} },
  async open({ folder, resumedAt }) {
    const where = join(folder, 'tensorboard')
    makeFolder(where)
    const file = join(
      where,
      `events.out.tfevents.${Math.floor(Date.now() / 1000)}.${hostname()}.${process.pid}`,
    )
    const write = (event: Uint8Array) => appendFileSync(file, record(event))
    write(
      new BinaryWriter()
        .tag(1, WireType.Bit64)
        .double(now())
        .tag(3, WireType.LengthDelimited)
        .string('brain.Event:2')
        .finish(),
    )
    // Tells the reader to forget what a killed run wrote beyond its checkpoint.
    if (resumedAt > 0) write(eventOf(resumedAt + 1, 7, started()))
    return {
      scalars: (step, values) => write(eventOf(step, 5, summary(values))),
      finish: async () => {},
    }
  },
})
const now = (): number => Date.now() / 1000

/** An Event (tensorflow/core/util/event.proto): wall_time = 1, step = 2, and a message in field `field`. */
const eventOf = (step: number, field: number, message: Uint8Array): Uint8Array =>
  new BinaryWriter()
    .tag(1, WireType.Bit64)
    .double(now())
    .tag(2, WireType.Varint)
    .int64(step)
    .tag(field, WireType.LengthDelimited)
    .bytes(message)
    .finish()

/** A Summary (summary.proto): repeated value = 1 of { tag = 1, simple_value = 2 }. */
function summary(values: Readonly<Record<string, number>>): Uint8Array {
  const writer = new BinaryWriter()
  for (const [tag, v] of Object.entries(values))
    writer
      .tag(1, WireType.LengthDelimited)
      .fork()
      .tag(1, WireType.LengthDelimited)
      .string(tag)
      .tag(2, WireType.Bit32)
      .float(v)
      .join()
  return writer.finish()
}
/** A SessionLog: status = 1, START = 1. */
const started = (): Uint8Array => new BinaryWriter().tag(1, WireType.Varint).int32(1).finish()
