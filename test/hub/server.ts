import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const gitOid = (bytes: Buffer) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')

interface Faults {
  /** status to answer API requests with */
  status?: number
  retryAfter?: number
  /** end a download's connection after so many bytes, once each */
  cutAfter?: number[]
  /** send other bytes than listed */
  spoil?: boolean
  /** file names as listed, by their real ones */
  rename?: Record<string, string>
}

/** A server that speaks as much of the Hub's API as pull and push use, with repositories in memory. */
export class Hub {
  readonly repositories = new Map<string, Map<string, Buffer>>()
  faults: Faults = {}
  /** requests as "METHOD path" */
  readonly seen: string[] = []
  readonly ranges: string[] = []
  private readonly large = new Map<string, Buffer>()
  private constructor(private readonly server: Server) {}

  static async open(): Promise<Hub> {
    const server = createServer()
    const hub = new Hub(server)
    server.on('request', (request, response) => void hub.handle(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return hub
  }
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }
  get commit(): string {
    return 'c0ffee'.padEnd(40, '0')
  }
  close(): Promise<void> {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent((request.url ?? '').split('?')[0])
    this.seen.push(`${request.method} ${path}`)
    const body = Buffer.concat((await request.toArray()) as Buffer[])
    const route = routes.find(([method, pattern]) => method === request.method && pattern.test(path))
    const [, name = '', rest = ''] = (route && path.match(route[1])) ?? []
    if (this.faults.status && !path.startsWith('/lfs')) {
      response
        .writeHead(
          this.faults.status,
          this.faults.retryAfter ? { 'retry-after': `${this.faults.retryAfter}` } : {},
        )
        .end('{"error":"no"}')
      return
    }
    if (!route) return void response.writeHead(404).end()
    const result = route[2](this, { name, rest, body, request, response })
    if (result !== undefined)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result))
  }

  files(name: string): Map<string, Buffer> | undefined {
    return this.repositories.get(name)
  }
  listing(name: string) {
    return [...(this.files(name) ?? [])].map(([path, bytes]) => {
      const entry = {
        type: 'file',
        path: this.faults.rename?.[path] ?? path,
        size: bytes.length,
        oid: gitOid(bytes),
      }
      return /\.safetensors$/.test(path)
        ? { ...entry, lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
        : entry
    })
  }
  send(bytes: Buffer, request: IncomingMessage, response: ServerResponse): void {
    const start = Number(request.headers.range?.match(/bytes=(\d+)-/)?.[1] ?? 0)
    if (request.headers.range) this.ranges.push(request.headers.range)
    const content = this.faults.spoil ? Buffer.from(bytes).fill(7, 0, 4) : bytes
    const rest = content.subarray(start)
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': `${rest.length}` })
    const cut = this.faults.cutAfter?.shift()
    if (cut === undefined) return void response.end(rest)
    response.write(rest.subarray(0, cut), () => response.destroy())
  }
  store(oid: string, bytes: Buffer): object {
    if (sha256(bytes) !== oid) throw new Error('an upload with another checksum')
    this.large.set(oid, bytes)
    return {}
  }
  apply(name: string, lines: readonly { key: string; value: Record<string, string> }[]): void {
    const files = this.files(name) ?? new Map<string, Buffer>()
    this.repositories.set(name, files)
    for (const { key, value } of lines) {
      if (key === 'file') files.set(value.path, Buffer.from(value.content, 'base64'))
      if (key === 'lfsFile') files.set(value.path, this.large.get(value.oid) as Buffer)
    }
  }
}

interface Call {
  name: string
  rest: string
  body: Buffer
  request: IncomingMessage
  response: ServerResponse
}
type Route = [method: string, path: RegExp, answer: (hub: Hub, call: Call) => unknown]
const missing = ({ response }: Call) => void response.writeHead(404).end('{"error":"Repository not found"}')

const routes: readonly Route[] = [
  ['GET', /^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/, (hub, call) => (hub.files(call.name) ? { _id: '1', id: call.name, sha: hub.commit, lastModified: '2026-01-01T00:00:00Z', siblings: [] } : missing(call))],
  ['GET', /^\/api\/models\/([^/]+\/[^/]+)\/tree\/(.+)$/, (hub, { name }) => hub.listing(name)],
  [
    'GET',
    /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/,
    (hub, call) => {
      const bytes = hub.files(call.name)?.get(call.rest)
      return bytes ? hub.send(bytes, call.request, call.response) : missing(call)
    },
  ],
  ['POST', /^\/api\/repos\/create$/, (_, { body }) => ({ url: `http://hub/${JSON.parse(`${body}`).organization}/${JSON.parse(`${body}`).name}`, id: '1' })],
  ['POST', /^\/api\/models\/([^/]+\/[^/]+)\/preupload\/(.+)$/, (_, { body }) => ({ files: JSON.parse(`${body}`).files.map(({ path }: { path: string }) => ({ path, uploadMode: path.endsWith('.safetensors') ? 'lfs' : 'regular' })) })],
  [
    'POST',
    /^\/([^/]+\/[^/]+)\.git\/info\/lfs\/objects\/batch$/,
    (hub, { body }) => ({ transfer: 'basic', objects: JSON.parse(`${body}`).objects.map((o: { oid: string; size: number }) => ({ ...o, actions: { upload: { href: `${hub.url}/lfs/${o.oid}`, header: {} } } })) }),
  ],
  ['PUT', /^\/lfs\/(\w+)$/, (hub, { name, body }) => hub.store(name, body)],
  [
    'POST',
    /^\/api\/models\/([^/]+\/[^/]+)\/commit\/(.+)$/,
    (hub, { name, body }) => {
      hub.apply(name, `${body}`.split('\n').filter(Boolean).map((l) => JSON.parse(l)))
      return { success: true, commitOid: hub.commit, commitUrl: `${hub.url}/${name}/commit/${hub.commit}`, hookOutput: '' }
    },
  ],
] // biome-ignore format: a table
