import { totalmem } from 'node:os'
import type { Forecast } from '../compile/forecast.js'
import type { TrainConfig } from '../config/config.js'
import type { Model } from '../model/model.js'

/** What is to be known before a run's first step. */
export function noticesBefore(config: TrainConfig, forecast: Forecast, model: Model): string[] {
  const slow = config.device === 'cpu' && ['bfloat16', 'float16'].includes(config.precision)
  const large = config.device === 'cpu' && tooLarge(forecast.peak, machineMemory())
  return [
    ...(slow
      ? [
          `precision: ${config.precision} is slower and larger than float32 on a processor, which has no such products in ONNX Runtime; int8 is faster and smaller.`,
        ]
      : []),
    ...(large ? [large] : []),
    ...model.notices,
  ]
}

/** Bytes that this process may take: the machine's, or what its container is held to. */
export function machineMemory(): number {
  const held = process.constrainedMemory?.() ?? 0
  return held > 0 ? Math.min(held, totalmem()) : totalmem()
}

/** A word on a run that is forecast to take more bytes than there are; undefined where it fits. */
export function tooLarge(peak: number, there: number): string | undefined {
  if (peak <= there) return undefined
  return `this run is forecast to take ${gigabytes(peak)} GB, and this machine has ${gigabytes(there)} GB: it will be slow, or be ended by the system. Lower training.batch_size or data.max_length, or set memory: low or quantize: int4; graft estimate says what each takes.`
}
const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1)
