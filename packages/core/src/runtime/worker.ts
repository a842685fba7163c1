import { parentPort } from 'node:worker_threads'
import * as ort from 'onnxruntime-node'
import { collectGarbage } from './garbage.js'
import { type NumericArray, scalar, type Tensor, type Tensors, vectorTensors } from './tensor.js'
import { applyGradients, type Update } from './update.js'
import { gradientName, variableTensors } from './variable-tensors.js'

/** What a thread that holds sessions is asked; each request names its session. */
export type Request = { id: number; session: number } & (
  | { kind: 'create'; bytes: Uint8Array; options: ort.InferenceSession.SessionOptions }
  | { kind: 'run'; feeds: Tensors; fetches?: string[]; carry?: Carry }
  | { kind: 'update'; feeds: Tensors; update: Update }
  | { kind: 'seed'; key: string; tensors: Tensors }
  | { kind: 'forget'; key: string }
  | { kind: 'read'; key: string; copier: Uint8Array; options: ort.InferenceSession.SessionOptions }
  | { kind: 'release' }
)
/** Outputs that stay here and are the inputs of the next run of the same key. */
export interface Carry {
  key: string
  /** output name → the input it becomes */
  inputs: Record<string, string>
}
export type Reply = { id: number; outputs?: Tensors; error?: string }

type Held = Record<string, ort.Tensor>

/** A session, and what its runs leave for the next. */
class HeldSession {
  private readonly carried = new Map<string, Held>()
  /** copies a tensor from the device: a tensor that lies there can't be asked for its numbers */
  private copying?: ort.InferenceSession

  constructor(private readonly session: ort.InferenceSession) {}

  async handle(request: Request): Promise<Tensors | undefined> {
    if (request.kind === 'seed') this.hold(request.key, toOrt(request.tensors))
    else if (request.kind === 'forget') this.hold(request.key)
    else if (request.kind === 'release') await this.release()
    else if (request.kind === 'read')
      return this.read(request.key, () => ort.InferenceSession.create(request.copier, request.options))
    else if (request.kind === 'update') return this.trainApart(request.feeds, request.update)
    else if (request.kind === 'run') return this.run(request.feeds, request.fetches, request.carry)
    return undefined
  }

  private async run(feeds: Tensors, fetches?: string[], carry?: Carry): Promise<Tensors> {
    const inputs = { ...toOrt(feeds), ...(carry ? this.carried.get(carry.key) : {}) }
    const results: Held = {
      ...(fetches ? await this.session.run(inputs, fetches) : await this.session.run(inputs)),
    }
    if (carry) this.keep(results, carry)
    return fromOrt(results)
  }

  /** Loss and gradients from the graph, then the optimiser's step on the vectors, which go back as they are. */
  private async trainApart(feeds: Tensors, update: Update): Promise<Tensors> {
    const { vectors, variables } = update
    const { loss, penalty, gradient_norm, ...gradients } = await this.run({
      ...feeds,
      ...variableTensors(vectors.parameters, variables),
    })
    const norm = applyGradients(
      update,
      variables.map((_, i) => gradients[gradientName(i)].data as Float32Array),
      Number(gradient_norm.data[0]),
    )
    return { loss, ...(penalty ? { penalty } : {}), gradient_norm: scalar(norm), ...vectorTensors(vectors) }
  }

  private keep(results: Held, { key, inputs }: Carry): void {
    const kept: Held = {}
    for (const [output, input] of Object.entries(inputs)) {
      kept[input] = results[output]
      delete results[output]
    }
    this.hold(key, kept)
  }
  private hold(key: string, tensors?: Held): void {
    for (const before of Object.values(this.carried.get(key) ?? {}))
      if (before.location !== 'cpu') before.dispose()
    if (tensors) this.carried.set(key, tensors)
    else this.carried.delete(key)
  }

  /** What is carried under a key, as it is now. */
  private async read(key: string, open: () => Promise<ort.InferenceSession>): Promise<Tensors> {
    const found: Held = {}
    for (const [name, t] of Object.entries(this.carried.get(key) ?? {})) {
      if (t.location === 'cpu')
        found[name] = new ort.Tensor(t.type as 'float32', (t.data as Float32Array).slice(), t.dims)
      else {
        this.copying ??= await open()
        found[name] = Object.values(await this.copying.run({ x: t }))[0]
      }
    }
    return fromOrt(found)
  }

  private async release(): Promise<void> {
    for (const key of [...this.carried.keys()]) this.hold(key)
    await this.copying?.release()
    await this.session.release()
  }
}

const toOrt = (tensors: Tensors): Held =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [
      name,
      new ort.Tensor(t.dtype as 'float32', t.data as Float32Array, t.shape),
    ]),
  )
const fromOrt = (results: Held): Tensors =>
  Object.fromEntries(
    Object.entries(results).map(([name, t]) => [
      name,
      { dtype: t.type as Tensor['dtype'], shape: t.dims, data: t.data as NumericArray },
    ]),
  )

const sessions = new Map<number, HeldSession>()
async function handle(request: Request): Promise<Tensors | undefined> {
  if (request.kind === 'create') {
    sessions.set(
      request.session,
      new HeldSession(await ort.InferenceSession.create(request.bytes, request.options)),
    )
    return undefined
  }
  const held = sessions.get(request.session)
  if (!held) throw new Error('the session is not open')
  if (request.kind === 'release') sessions.delete(request.session)
  return held.handle(request)
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
