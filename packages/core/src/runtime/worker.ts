import { parentPort } from 'node:worker_threads'
import * as ort from 'onnxruntime-node'
import type { NumericArray, Tensor, Tensors } from './tensor.js'

/** The thread that holds a session: `run` blocks its thread, and here that is nobody else's. */
export type Request =
  | { id: number; kind: 'create'; bytes: Uint8Array; options: ort.InferenceSession.SessionOptions }
  | { id: number; kind: 'run'; feeds: Tensors; fetches?: string[] }
  | { id: number; kind: 'release' }
export type Reply = { id: number; outputs?: Tensors; error?: string }

let session: ort.InferenceSession | undefined

async function handle(request: Request): Promise<Tensors | undefined> {
  if (request.kind === 'create') session = await ort.InferenceSession.create(request.bytes, request.options)
  else if (request.kind === 'release') await session?.release()
  else return run(request.feeds, request.fetches)
  return undefined
}

async function run(feeds: Tensors, fetches?: string[]): Promise<Tensors> {
  if (!session) throw new Error('the session is not open')
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, new ort.Tensor(t.dtype as 'float32', t.data as Float32Array, t.shape)]))
  const results = fetches ? await session.run(inputs, fetches) : await session.run(inputs)
  return Object.fromEntries(Object.entries(results).map(([name, t]) => [name, { dtype: t.type as Tensor['dtype'], shape: t.dims, data: t.data as NumericArray }]))
}

parentPort?.on('message', async (request: Request) => {
  try {
    const outputs = await handle(request)
    const transfer = Object.values(outputs ?? {}).map((t) => t.data.buffer as ArrayBuffer)
    parentPort?.postMessage({ id: request.id, outputs } satisfies Reply, [...new Set(transfer)])
  } catch (error) {
    parentPort?.postMessage({ id: request.id, error: (error as Error).message } satisfies Reply)
  }
})
