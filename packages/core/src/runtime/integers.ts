import { GraftError } from '../errors.js'
import type { ChosenDevice } from './device.js'

/** Throws BAD_CONFIG where a device has no kernels for products of 8-bit integers. */
export function checkIntegers(device: ChosenDevice = 'cpu'): void {
  if (device === 'cuda' || device === 'webgpu')
    throw new GraftError(
      'BAD_CONFIG',
      `precision: int8 is for processors: ONNX Runtime has no such products on ${device}. Choose ${device === 'cuda' ? 'bfloat16' : 'float16'} there, or device: cpu.`,
    )
}
