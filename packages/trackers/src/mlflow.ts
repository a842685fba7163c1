import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { defineTracker, GraftError, readObject, writeAtomically } from '@graft-peft/core'
import { isObject, shown } from '@graft-peft/core/inside'

interface Options {
  uri: string
  experiment: string
  token_env: string
}
interface Metric {
  key: string
  value: number
  timestamp: number
  step: number
}
/** What one log-batch request may hold. */
const limits = { metrics: 1000, params: 100, text: 500 }
/** milliseconds between requests, and until one is given up */
const pause = 2000
const patience = 10_000

/** An MLflow server, by its REST API (2.0). A run that is resumed goes on under its id. */
export const mlflow = defineTracker<Options>({
  name: 'mlflow',
  summary: 'an MLflow server, by its REST API',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      uri: { type: 'string', pattern: '^https?://' },
      experiment: { type: 'string', default: 'graft' },
      token_env: { type: 'string', default: 'MLFLOW_TRACKING_TOKEN' },
    },
    required: ['uri'],
  },
  async open({ name, folder, config, resumedAt, notice }, options) {
    const server = new Server(options)
    const file = join(folder, 'mlflow.json')
    const known =
      resumedAt > 0 && existsSync(file) ? String(readObject(file, 'BAD_MLFLOW').run_id) : undefined
    const run_id = known ?? (await server.createRun(options.experiment, name, config))
    writeAtomically(file, JSON.stringify({ run_id }))
    return new Sending(server, run_id, notice)
  },
})

/** Sends numbers a little later than they come, together; a server that is away for a while gets them when it is back. */
class Sending {
  private waiting: Metric[] = []
  private timer?: NodeJS.Timeout
  private sending: Promise<void> = Promise.resolve()
  private silent = false

  constructor(
    private readonly server: Server,
    private readonly run_id: string,
    private readonly notice: (text: string) => void,
  ) {}

  scalars(step: number, values: Readonly<Record<string, number>>): void {
    for (const [key, value] of Object.entries(values))
      this.waiting.push({ key, value, timestamp: Date.now(), step })
    this.timer ??= setTimeout(() => this.send(), pause).unref()
  }
  async finish(status: 'finished' | 'stopped' | 'failed'): Promise<void> {
    clearTimeout(this.timer)
    this.send()
    await this.sending
    const states = { finished: 'FINISHED', stopped: 'KILLED', failed: 'FAILED' }
    await this.server
      .post('runs/update', { run_id: this.run_id, status: states[status], end_time: Date.now() })
      .catch((error) =>
        this.notice(`${(error as Error).message} ${this.waiting.length} numbers were not sent.`),
      )
  }

  private send(): void {
    this.timer = undefined
    this.sending = this.sending
      .then(async () => {
        while (this.waiting.length > 0) {
          const metrics = this.waiting.slice(0, limits.metrics)
          await this.server.post('runs/log-batch', { run_id: this.run_id, metrics })
          this.waiting.splice(0, metrics.length)
          this.silent = false
        }
      })
      .catch((error) => this.complain(error as Error))
  }
  /** Once per outage; training goes on. */
  private complain({ message }: Error): void {
    if (!this.silent) this.notice(`${message} Training goes on; the numbers are kept and sent later.`)
    this.silent = true
  }
}

interface Answer {
  path: string
  ok: boolean
  status: number
  text: string
}
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

class Server {
  /** Throws TRACKER_FAILED for an address that holds a name or a password: it would stand in messages and in the config. */
  constructor(private readonly options: Options) {
    if (options.uri.includes('@'))
      throw new GraftError(
        'TRACKER_FAILED',
        `mlflow: uri should be http://host:5000 without a name and password in it. Put a token into ${options.token_env}.`,
      )
  }

  async createRun(experiment: string, name: string, config: Record<string, unknown>): Promise<string> {
    const experiment_id = await this.experiment(experiment)
    const asked = { experiment_id, run_name: name, start_time: Date.now() }
    const run_id = this.textAt(await this.post('runs/create', asked), 'run', 'info', 'run_id')
    const params = Object.entries(config).map(([key, v]) => ({
      key,
      value: (typeof v === 'string' ? v : JSON.stringify(v)).slice(0, limits.text),
    }))
    for (let i = 0; i < params.length; i += limits.params)
      await this.post('runs/log-batch', { run_id, params: params.slice(i, i + limits.params) })
    return run_id
  }
  private async experiment(name: string): Promise<string> {
    const found = await this.request(`experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`)
    if (found.ok) return this.textAt(found, 'experiment', 'experiment_id')
    return this.textAt(await this.post('experiments/create', { name }), 'experiment_id')
  }

  async post(path: string, body: unknown): Promise<Answer> {
    const answer = await this.request(path, { method: 'POST', body: JSON.stringify(body) })
    if (!answer.ok)
      throw new GraftError(
        'TRACKER_FAILED',
        `mlflow: ${this.options.uri} answered ${answer.status} to ${path}: ${answer.text.slice(0, 200)}`,
      )
    return answer
  }
  /** What an answer in JSON says under a path of keys. Throws TRACKER_FAILED. */
  private textAt({ path, text }: Answer, ...keys: string[]): string {
    let value = parsed(text)
    for (const key of keys) value = isObject(value) ? value[key] : undefined
    if (typeof value === 'string') return value
    throw new GraftError(
      'TRACKER_FAILED',
      `mlflow: ${this.options.uri} answered ${shown(text)} to ${path}, where MLflow says ${keys.join('.')}. Is uri the address of an MLflow server?`,
    )
  }
  private async request(path: string, init: RequestInit = {}): Promise<Answer> {
    const { uri, token_env } = this.options
    const token = process.env[token_env]
    const headers = {
      'content-type': 'application/json',
      ...(token ? { authorization: `Bearer ${token}` } : {}),
    }
    try {
      const response = await fetch(`${uri.replace(/\/+$/, '')}/api/2.0/mlflow/${path}`, {
        ...init,
        headers,
        signal: AbortSignal.timeout(patience),
      })
      return { path, ok: response.ok, status: response.status, text: await response.text() }
    } catch (cause) {
      throw new GraftError(
        'TRACKER_FAILED',
        `mlflow: ${uri} can't be reached (${(cause as Error).message}). Start the server, or leave mlflow out of trackers.`,
        { cause },
      )
    }
  }
}
