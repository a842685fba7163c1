import { parentPort } from 'node:worker_threads'
import * as ort from 'onnxruntime-node'
import { collectGarbage } from './garbage.js'
import { float32, type NumericArray, scalar, type Tensor, type Tensors } from './tensor.js'
import { applyGradients, type Update } from './update.js'
import { gradientName, variableTensors } from './variable-tensors.js'

/** The thread that holds a session: `run` blocks its thread, and here that is nobody else's. */
export type Request =
  | { id: number; kind: 'create'; bytes: Uint8Array; options: ort.InferenceSession.SessionOptions }
  | { id: number; kind: 'run'; feeds: Tensors; fetches?: string[]; carry?: Carry }
  | { id: number; kind: 'update'; feeds: Tensors; update: Update }
  | { id: number; kind: 'seed'; key: string; tensors: Tensors }
  | { id: number; kind: 'forget'; key: string }
  | { id: number; kind: 'read'; key: string; copier: Uint8Array; options: ort.InferenceSession.SessionOptions }
  | { id: number; kind: 'release' }
/** Outputs that stay here and are the inputs of the next run of the same key. */
export interface Carry {
  key: string
  /** output name → the input it becomes */
  inputs: Record<string, string>
}
export type Reply = { id: number; outputs?: Tensors; error?: string }

let session: ort.InferenceSession | undefined
/** Copies a tensor from the device: a tensor that lies there can't be asked for its numbers. */
let copying: ort.InferenceSession | undefined
const carried = new Map<string, Record<string, ort.Tensor>>()

async function handle(request: Request): Promise<Tensors | undefined> {
  if (request.kind === 'create') session = await ort.InferenceSession.create(request.bytes, request.options)
  else if (request.kind === 'release') await session?.release()
  else if (request.kind === 'seed') carried.set(request.key, toOrt(request.tensors))
  else if (request.kind === 'forget') carried.delete(request.key)
  else if (request.kind === 'read') return read(request.key, () => ort.InferenceSession.create(request.copier, request.options))
  else if (request.kind === 'update') return trainApart(request.feeds, request.update)
  else return run(request.feeds, request.fetches, request.carry)
  return undefined
}

async function run(feeds: Tensors, fetches?: string[], carry?: Carry): Promise<Tensors> {
  if (!session) throw new Error('the session is not open')
  const given = toOrt(feeds)
  const inputs = { ...given, ...(carry ? carried.get(carry.key) : {}) }
  const results: Record<string, ort.Tensor> = { ...(fetches ? await session.run(inputs, fetches) : await session.run(inputs)) }
  if (carry) keep(results, carry)
  return fromOrt(results)
}

/** What is carried under a key, as it is now. */
async function read(key: string, open: () => Promise<ort.InferenceSession>): Promise<Tensors> {
  const found: Record<string, ort.Tensor> = {}
  for (const [name, t] of Object.entries(carried.get(key) ?? {})) {
    if (t.location === 'cpu') found[name] = new ort.Tensor(t.type as 'float32', (t.data as Float32Array).slice(), t.dims)
    else {
      copying ??= await open()
      found[name] = Object.values(await copying.run({ x: t }))[0]
    }
  }
  return fromOrt(found)
}

/** Loss and gradients from the graph, then the optimiser's step on the vectors, which go back as they are. */
async function trainApart(feeds: Tensors, update: Update): Promise<Tensors> {
  const { vectors, variables } = update
  const { loss, penalty, gradient_norm, ...gradients } = await run({ ...feeds, ...variableTensors(vectors.parameters, variables) })
  const norm = applyGradients(
    update,
    variables.map((_, i) => gradients[gradientName(i)].data as Float32Array),
    Number(gradient_norm.data[0]),
  )
  return { loss, ...(penalty ? { penalty } : {}), gradient_norm: scalar(norm), ...Object.fromEntries(Object.entries(vectors).map(([name, v]) => [name, float32(v)])) }
}

const toOrt = (tensors: Tensors): Record<string, ort.Tensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, new ort.Tensor(t.dtype as 'float32', t.data as Float32Array, t.shape)]))

const fromOrt = (results: Record<string, ort.Tensor>): Tensors =>
  Object.fromEntries(Object.entries(results).map(([name, t]) => [name, { dtype: t.type as Tensor['dtype'], shape: t.dims, data: t.data as NumericArray }]))

function keep(results: Record<string, ort.Tensor>, { key, inputs }: Carry): void {
  const kept: Record<string, ort.Tensor> = {}
  for (const [output, input] of Object.entries(inputs)) {
    kept[input] = results[output]
    delete results[output]
  }
  for (const before of Object.values(carried.get(key) ?? {})) if (before.location !== 'cpu') before.dispose()
  carried.set(key, kept)
}

parentPort?.on('message', async (request: Request) => {
  try {
    const outputs = await handle(request)
    const transfer = Object.values(outputs ?? {}).map((t) => t.data.buffer as ArrayBuffer)
    parentPort?.postMessage({ id: request.id, outputs } satisfies Reply, [...new Set(transfer)])
    if (request.kind === 'run' || request.kind === 'update') collectGarbage('minor')
  } catch (error) {
    parentPort?.postMessage({ id: request.id, error: (error as Error).message } satisfies Reply)
  }
})
