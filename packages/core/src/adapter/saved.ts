import type { Value } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import type { Adapted } from '../compile/adapt.js'
import { finish } from '../compile/step.js'
import type { Variable } from '../method/variables.js'
import { runOnce } from '../runtime/session.js'
import { float32 } from '../runtime/tensor.js'
import { fileKey } from '../method/keys.js'
import { type StoredTensor, storedFloats, storedNumbers } from '../files/safetensors.js'

export interface Saved {
  tensors: Map<string, StoredTensor>
  /** options that differ from those the method was attached with */
  options: Record<string, unknown>
}

/** An adapter's tensors as HF PEFT's file holds them. `adapted` is used up: its graph computes what the method doesn't store as it is. */
export async function savedForm(adapted: Adapted, parameters: Float32Array): Promise<Saved> {
  const { variables, own, buffers, adapter } = adapted
  const form = adapter.save?.()
  const stored = (list: readonly Variable[]) =>
    new Map(
      list.map((v) => [fileKey(v), storedFloats(parameters.slice(v.offset, v.offset + v.size), v.shape)]),
    )
  const computed = form?.tensors ? await compute(adapted, form.tensors, parameters) : []
  const made = new Map([...stored(variables.list.slice(0, own)), ...computed])
  const options = form?.finish?.(made) ?? {}
  const kept = buffers.filter((b) => b.stored && !b.replaced)
  const over = kept.find((b) => made.has(fileKey(b)))
  if (over)
    throw new GraftError(
      'BAD_SAVED_FORM',
      `The method saves ${fileKey(over)}, which is a stored buffer of its own: one of the two would be lost. This is a fault of the method's package.`,
    )
  const frozen = kept.flatMap((b) =>
    b.stored ? [[fileKey(b), storedNumbers(b.data, b.shape, b.stored)] as const] : [],
  )
  return { tensors: new Map([...made, ...stored(variables.list.slice(own)), ...frozen]), options }
}

async function compute(
  { model }: Adapted,
  tensors: Record<string, Value>,
  parameters: Float32Array,
): Promise<Map<string, StoredTensor>> {
  const keys = Object.keys(tensors)
  const outputs = await runOnce(
    finish(model.g, Object.fromEntries(keys.map((key, i) => [`saved_${i}`, tensors[key]]))),
    { parameters: float32(parameters) },
  )
  return new Map(
    keys.map((key, i) => {
      const { data, shape } = outputs[`saved_${i}`]
      if (!(data instanceof Float32Array))
        throw new GraftError('BAD_SAVED_FORM', `The method's saved tensor ${key} is not float32.`)
      return [key, storedFloats(data, shape)]
    }),
  )
}
