export const devices = ['auto', 'cpu', 'cuda', 'webgpu'] as const

export type Device = (typeof devices)[number]
