/** What ONNX Runtime's messages about a device come down to, and what to do. */
const reasons: readonly [RegExp, string][] = [
  [
    /_Cuda: Failed to load shared library/,
    "not here: ONNX Runtime's CUDA libraries are not installed; npm run cuda fetches them (Linux, NVIDIA)",
  ],
  [/CUDA failure|no CUDA-capable device|libcuda/i, 'not here: no usable NVIDIA GPU or driver'],
  [/Failed to get a WebGPU adapter/, 'not here: no graphics adapter with Vulkan, Metal or Direct3D 12'],
]
export const reason = (message: string): string =>
  reasons.find(([pattern]) => pattern.test(message))?.[1] ?? `not here: ${message.split('\n')[0]}`
