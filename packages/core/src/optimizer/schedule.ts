export interface ScheduleOptions {
  learning_rate: number
  schedule: 'constant' | 'linear' | 'cosine'
  warmup_steps: number
}

/** The learning rate of step t = 1, 2, … of `total`: linear warm-up, then constant, or decay to zero as transformers' schedulers. */
export function learningRate(
  { learning_rate, schedule, warmup_steps }: ScheduleOptions,
  t: number,
  total: number,
): number {
  const done = t - 1
  if (done < warmup_steps) return (learning_rate * (done + 1)) / (warmup_steps + 1)
  const share = Math.min(1, (done - warmup_steps) / Math.max(1, total - warmup_steps))
  if (schedule === 'linear') return learning_rate * (1 - share)
  if (schedule === 'cosine') return learning_rate * 0.5 * (1 + Math.cos(Math.PI * share))
  return learning_rate
}
