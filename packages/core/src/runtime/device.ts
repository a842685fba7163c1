/** What a config or a flag may name: `auto` is CUDA where it was fetched and computes right, else the CPU. */
export const devices = ['auto', 'cpu', 'cuda', 'webgpu'] as const
/** What may be asked for: a device, or `auto`. */
export type Device = (typeof devices)[number]
/** What sessions run on: `auto` ends where configs and flags are read (chosenDevice). */
export type ChosenDevice = Exclude<Device, 'auto'>
