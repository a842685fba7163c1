import { Builder as FlatBuilder } from 'flatbuffers'
import { dtypes } from '@graft-peft/onnx'

export interface AdapterParameter {
  name: string
  shape: readonly number[]
  values: Float32Array
}

/**
 * ONNX Runtime's adapter files: a flatbuffer of named tensors
 * (onnxruntime/lora/adapter_format/adapter_schema.fbs), which onnxruntime-genai reads.
 */
export function encodeAdapterFile(parameters: readonly AdapterParameter[]): Uint8Array {
  const b = new FlatBuilder(1024)
  const offsets = parameters.map((p) => parameter(b, p))
  b.startVector(4, offsets.length, 4)
  for (const offset of [...offsets].reverse()) b.addOffset(offset)
  const list = b.endVector()
  const [formatVersion, adapterVersion, modelVersion] = [1, 1, 1]
  b.startObject(4)
  b.addFieldInt32(0, formatVersion, 0)
  b.addFieldInt32(1, adapterVersion, 0)
  b.addFieldInt32(2, modelVersion, 0)
  b.addFieldOffset(3, list, 0)
  b.finish(b.endObject(), 'TORT')
  return b.asUint8Array()
}

function parameter(b: FlatBuilder, { name, shape, values }: AdapterParameter): number {
  const data = b.createByteVector(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  b.startVector(8, shape.length, 8)
  for (const d of [...shape].reverse()) b.addInt64(BigInt(d))
  const dims = b.endVector()
  const text = b.createString(name)
  b.startObject(4)
  b.addFieldOffset(0, text, 0)
  b.addFieldOffset(1, dims, 0)
  b.addFieldInt32(2, dtypes.float32.code, 0)
  b.addFieldOffset(3, data, 0)
  return b.endObject()
}
