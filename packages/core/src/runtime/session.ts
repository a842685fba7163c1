import { Builder, type DType, encodeLoop, encodeOnnx, Graph, packsFreely } from '@graft-peft/onnx'
import { GraftError } from '../errors.js'
import { feedsFor, lowered } from './lowered.js'
import { reason } from './reasons.js'
import type { Tensors } from './tensor.js'
import { type RequestBody, Thread } from './thread.js'
import type { Update } from './update.js'
import type { Carry } from './worker.js'
import { type ChosenDevice } from './device.js'

export interface SessionOptions {
  /** the CPU when left out */
  device?: ChosenDevice
  /** threads of one operator; ONNX Runtime's choice (one per core) when left out */
  threads?: number
  /** keep a packed copy of every weight; where copies take the places of the weights, if left out */
  prepack?: boolean
  /** outputs that stay on the device, to be carried from run to run; WebGPU only */
  resident?: readonly string[]
  /** ONNX Runtime writes what each node took, and where it ran, to a file that begins so; once the session is closed */
  profile?: string
}

/** Settings measured for training graphs: docs/decisions/0004-session-options.md says why each is as it is. */
function sessionOptions({
  device = 'cpu',
  threads,
  prepack = false,
  resident = [],
  profile,
}: SessionOptions) {
  return {
    executionProviders: [device],
    graphOptimizationLevel: 'disabled' as const,
    enableMemPattern: false,
    logSeverityLevel: 3 as const,
    ...(threads ? { intraOpNumThreads: threads } : {}),
    ...(profile ? { enableProfiling: true, profileFilePrefix: profile } : {}),
    ...(resident.length > 0
      ? { preferredOutputLocation: Object.fromEntries(resident.map((name) => [name, 'gpu-buffer' as const])) }
      : {}),
    extra: {
      session: {
        disable_prepacking: prepack ? '0' : '1',
        model_external_initializers_file_folder_path: '/',
        set_denormal_as_zero: '1',
        use_deterministic_compute: '1',
      },
    },
  }
}

/** A compiled graph ready to run, in a thread of its own: timers, progress and Ctrl-C stay alive while it computes. */
export class Session {
  private held?: Promise<{ thread: Thread; number: number }>

  /** `inputs`: those that the graph has, with their types; undefined where only what it takes is ever fed. */
  private constructor(
    private readonly inputs: ReadonlyMap<string, DType> | undefined,
    private readonly bytes: Uint8Array,
    private readonly options: SessionOptions,
  ) {}

  /** Throws DEVICE_UNAVAILABLE when the device can't be had, RUNTIME when ONNX Runtime refuses the graph. */
  static open(graph: Graph, options: SessionOptions = {}): Promise<Session> {
    return Session.resting(graph, options).awake()
  }

  /** A session that opens with its first run, which then throws what opening throws. */
  static resting(graph: Graph, options: SessionOptions = {}): Session {
    const own = lowered(graph, options.device)
    const { prepack = packsFreely(own) } = options
    const inputs = new Map(own.inputs.map((v) => [v.name, v.dtype]))
    return new Session(inputs, encodeOnnx(own), { ...options, prepack })
  }

  /**
   * A session whose one run is several runs of the graph, each beginning with what the one before left:
   * input's name → output's name.
   */
  static openLoop(
    graph: Graph,
    carried: Readonly<Record<string, string>>,
    options: SessionOptions = {},
  ): Promise<Session> {
    const own = lowered(graph, options.device)
    const { prepack = packsFreely(own) } = options
    return new Session(undefined, encodeLoop(own, { carried }), { ...options, prepack }).awake()
  }

  private async awake(): Promise<this> {
    this.held ??= this.create()
    await this.held
    return this
  }
  private async create(): Promise<{ thread: Thread; number: number }> {
    const { bytes, options } = this
    const { device = 'cpu' } = options
    const thread = Thread.for(device)
    const number = thread.enter()
    try {
      await thread.send(number, { kind: 'create', bytes, options: sessionOptions(options) })
      return { thread, number }
    } catch (cause) {
      this.held = undefined
      await thread.leave(number)
      if (device === 'cpu') throw cause
      throw new GraftError(
        'DEVICE_UNAVAILABLE',
        `device: ${device} can't be used: ${reason((cause as Error).message)}. Run "graft doctor" to see what there is, or set device: cpu.`,
        { cause },
      )
    }
  }

  /**
   * Runs the graph once; feeds that it has no input for are left out. The feeds' buffers listed in `give` are
   * moved to the thread, not copied, and are gone here afterwards.
   */
  run(
    feeds: Tensors,
    { give = [], fetches, carry }: { give?: string[]; fetches?: string[]; carry?: Carry } = {},
  ): Promise<Tensors> {
    return this.send(
      { kind: 'run', feeds: this.wanted(feeds), fetches, carry },
      give.map((name) => feeds[name].data.buffer as ArrayBuffer),
    )
  }

  /**
   * Runs a graph of loss and gradients and takes the optimiser's step on the vectors, which move to the
   * thread and come back with loss, penalty and gradient_norm.
   */
  update(feeds: Tensors, update: Update): Promise<Tensors> {
    return this.send(
      { kind: 'update', feeds: this.wanted(feeds), update },
      Object.values(update.vectors).map((v) => v.buffer as ArrayBuffer),
    )
  }

  private wanted(feeds: Tensors): Tensors {
    return this.inputs ? feedsFor(this.inputs, feeds) : feeds
  }

  /** Gives the next run of a key its inputs. */
  async seed(key: string, tensors: Tensors): Promise<void> {
    await this.send({ kind: 'seed', key, tensors })
  }
  /** What runs of a key have carried so far, by the names of inputs. */
  read(key: string): Promise<Tensors> {
    return this.send({
      kind: 'read',
      key,
      copier: copier(),
      options: sessionOptions({ ...this.options, resident: [] }),
    })
  }
  /** Drops what runs of a key have carried. */
  async forget(key: string): Promise<void> {
    await this.send({ kind: 'forget', key })
  }

  /**
   * Gives back all that it holds: mapped weights, arena, thread, what runs have carried. A later run opens it
   * again.
   */
  async close(): Promise<void> {
    const held = await this.held
    this.held = undefined
    await held?.thread.leave(held.number)
  }

  private async send(body: RequestBody, transfer?: ArrayBuffer[]): Promise<Tensors> {
    this.held ??= this.create()
    const { thread, number } = await this.held
    return thread.send(number, body, transfer)
  }
}

/** A graph that hands a vector on as it is. */
function copier(): Uint8Array {
  const g = new Builder(new Graph())
  g.graph.outputs.push(g.op('Identity', [g.graph.addInput('x', 'float32', ['n'])]))
  return encodeOnnx(g.graph)
}

/** Opens a graph, runs it once, closes it. */
export async function runOnce(graph: Graph, feeds: Tensors, options?: SessionOptions): Promise<Tensors> {
  const session = await Session.open(graph, options)
  try {
    return await session.run(feeds)
  } finally {
    await session.close()
  }
}
