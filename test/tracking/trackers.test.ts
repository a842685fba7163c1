import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { graft, temporaryFolder, writeRun } from '../fixture.js'
import { registry } from '../tiny.js'

type Line = { step: number; loss?: number; phase?: string; part?: string } & Record<string, unknown>
const lines = (path: string): Line[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
const logged = (folder: string): Line[] =>
  lines(join(folder, 'out/log.jsonl')).filter((l) => l.phase === undefined)

it('json-lines writes what the log says, and a resumed run nothing twice', async () => {
  const folder = temporaryFolder()
  const config = writeRun(folder, { trackers: ['json-lines'], training: { max_steps: 30, save_every: 5 } })
  await graft(['train', config, '--json'], {
    onOutput: (text, child) => text.includes('"step":12,') && child.kill('SIGKILL'),
  })
  const { code, stderr } = await graft(['train', config, '--resume'])
  expect(code, stderr).toBe(0)
  const told = lines(join(folder, 'out/metrics.jsonl')).filter((l) => 'train/loss' in l)
  expect(told.map((l) => [l.step, l['train/loss']])).toEqual(logged(folder).map((l) => [l.step, l.loss]))
  expect(lines(join(folder, 'out/metrics.jsonl')).some((l) => 'validation/accuracy' in l)).toBe(true)
})

const python = ['python3', ...(process.env.GRAFT_PYTHON ? [process.env.GRAFT_PYTHON] : [])].find(
  (p) => spawnSync(p, ['-c', 'import tensorboard']).status === 0,
)
if (!python)
  console.warn(
    'SKIPPED: no Python with tensorboard; event files are not read back by its own reader (GRAFT_PYTHON names one).',
  )

describe.skipIf(!python)('TensorBoard', () => {
  it("reads our event files by its own reader: every step's loss, a resumed run's once", async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { trackers: ['tensorboard'], training: { max_steps: 30, save_every: 5 } })
    await graft(['train', config, '--json'], {
      onOutput: (text, child) => text.includes('"step":12,') && child.kill('SIGKILL'),
    })
    // Files are told apart by the second.
    await new Promise((done) => setTimeout(done, 1100))
    expect((await graft(['train', config, '--resume'])).code).toBe(0)
    const program = `
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
e = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}); e.Reload()
print(json.dumps({t: [[s.step, s.value] for s in e.Scalars(t)] for t in e.Tags()['scalars']}))`
    const { stdout, stderr } = spawnSync(python as string, ['-c', program, join(folder, 'out/tensorboard')], {
      encoding: 'utf8',
    })
    const scalars = JSON.parse(stdout || `{"failed": ${JSON.stringify(stderr)}}`) as Record<
      string,
      [number, number][]
    >
    expect(Object.keys(scalars)).toEqual(
      expect.arrayContaining(['train/loss', 'train/learning_rate', 'validation/accuracy']),
    )
    expect(scalars['train/loss'].map(([step]) => step)).toEqual(logged(folder).map((l) => l.step))
    scalars['train/loss'].forEach(([, v], i) => expect(v).toBeCloseTo(logged(folder)[i].loss as number, 5))
  })
})

it('a tracker of a plugin gets its options, every step and the end; a wrong option is refused', async () => {
  const folder = temporaryFolder()
  writeFileSync(
    join(folder, 'speak.mjs'),
    `const properties = { word: { type: 'string', default: 'step' } }
export default { kind: 'tracker', apiVersion: 1, name: 'speak', summary: '', configSchema: { type: 'object', additionalProperties: false, properties },
  open: async ({ name }, { word }) => ({ scalars: (step, values) => console.error(name, word, step, Object.keys(values)[0]), finish: async (status) => console.error(name, status) }) }`,
  )
  const settings = { plugins: ['./speak.mjs'], training: { max_steps: 2 } }
  const { code, stderr } = await graft([
    'train',
    writeRun(folder, { ...settings, trackers: [{ name: 'speak', word: 'at' }] }),
  ])
  expect(code, stderr).toBe(0)
  expect(stderr).toContain('out at 2 train/loss')
  expect(stderr).toContain('out finished')
  const wrong = await graft([
    'train',
    writeRun(folder, { ...settings, trackers: [{ name: 'speak', wrd: 'at' }] }),
    '--overwrite',
  ])
  expect(wrong.stderr).toMatch(
    /config\.yaml:\d+:\d+: trackers\.0\.wrd: unknown key wrd\. Did you mean word\?/,
  )
})

it('tensorboard writes records whose checksums hold', async () => {
  const folder = temporaryFolder()
  expect(
    (await graft(['train', writeRun(folder, { trackers: ['tensorboard'], training: { max_steps: 3 } })]))
      .code,
  ).toBe(0)
  const [name] = readdirSync(join(folder, 'out/tensorboard'))
  const data = readFileSync(join(folder, 'out/tensorboard', name))
  let [at, count] = [0, 0]
  for (; at < data.length; count++) {
    const length = Number(data.readBigUInt64LE(at))
    expect(data.readUInt32LE(at + 8)).toBe(masked(data.subarray(at, at + 8)))
    expect(data.readUInt32LE(at + 12 + length)).toBe(masked(data.subarray(at + 12, at + 12 + length)))
    at += length + 16
  }
  expect(at).toBe(data.length)
  expect(count).toBeGreaterThan(4)
})
/** CRC-32C bit by bit, as RFC 3720 has it, under TensorFlow's mask. */
function masked(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) {
    crc ^= byte
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  crc = ~crc >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** Speaks the part of MLflow's REST API that we use, and can go away. */
describe('mlflow', () => {
  const got: { path: string; body: Record<string, unknown> }[] = []
  let server: Server
  let uri: string
  let down = false
  beforeAll(async () => {
    server = createServer((request, response) => {
      let text = ''
      request.on('data', (d) => (text += d))
      request.on('end', () => {
        const path = (request.url ?? '').replace('/api/2.0/mlflow/', '')
        if (down) return response.destroy()
        got.push({ path, body: text ? JSON.parse(text) : {} })
        const missing = path.startsWith('experiments/get-by-name')
        response.writeHead(missing ? 404 : 200, { 'content-type': 'application/json' })
        response.end(
          JSON.stringify(
            path === 'experiments/create'
              ? { experiment_id: '7' }
              : path === 'runs/create'
                ? { run: { info: { run_id: 'r1' } } }
                : {},
          ),
        )
      })
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => server.close())

  it('gets the run, its settings, every number and how it ended', async () => {
    const folder = temporaryFolder()
    const { code, stderr } = await graft([
      'train',
      writeRun(folder, { trackers: [{ name: 'mlflow', uri }], training: { max_steps: 5 } }),
    ])
    expect(code, stderr).toBe(0)
    const metrics = got.flatMap(
      (g) => (g.body.metrics ?? []) as { key: string; step: number; value: number }[],
    )
    expect(metrics.filter((m) => m.key === 'train/loss').map((m) => [m.step, m.value])).toEqual(
      logged(folder).map((l) => [l.step, l.loss]),
    )
    expect(got.flatMap((g) => (g.body.params ?? []) as { key: string }[]).map((p) => p.key)).toEqual(
      expect.arrayContaining(['method', 'method.r', 'training.learning_rate', 'seed']),
    )
    expect(got.at(-1)).toMatchObject({ path: 'runs/update', body: { run_id: 'r1', status: 'FINISHED' } })
  })
  it('that goes away while a run goes on costs no more than a notice', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { trackers: [{ name: 'mlflow', uri }], training: { max_steps: 400 } })
    const { code, stdout } = await graft(['train', config, '--json'], {
      onOutput: (text) => (down ||= text.includes('"step":2,')),
    })
    down = false
    expect(code).toBe(0)
    expect(stdout).toMatch(/"event":"notice","text":"mlflow: .* can't be reached/)
    expect(existsSync(join(folder, 'out/adapter/adapter_config.json'))).toBe(true)
  })
  it('that is not there is said before training', async () => {
    const folder = temporaryFolder()
    const { code, stderr } = await graft([
      'train',
      writeRun(folder, { trackers: [{ name: 'mlflow', uri: 'http://127.0.0.1:1' }] }),
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/mlflow: http:\/\/127\.0\.0\.1:1 can't be reached.*\[TRACKER_FAILED\]/s)
  })
  it.each(['<p>Sign in</p>', '[{}]', '{"experiment": {"name": "graft"}}'])(
    'where something else answers: %s',
    async (text) => {
      const other = createServer((_, response) => response.end(text)).listen(0, '127.0.0.1')
      await once(other, 'listening')
      const uri = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
      const mlflow = registry.get('tracker', 'mlflow')
      const run = { name: 'a', folder: temporaryFolder(), config: {}, resumedAt: 0, notice: () => {} }
      const opening = mlflow.open(run, { uri, experiment: 'graft', token_env: 'NONE' })
      await expect(opening).rejects.toThrow(
        /where MLflow says experiment\.experiment_id\. Is uri the address/,
      )
      other.close()
    },
  )
  it.each(['http://me:pa/ss@w@host:1', 'htp://me:pass@host'])(
    'whose address holds a password: %s',
    async (uri) => {
      const folder = temporaryFolder()
      const { code, stdout, stderr } = await graft([
        'train',
        writeRun(folder, { trackers: [{ name: 'mlflow', uri }] }),
      ])
      expect(code).toBe(1)
      expect(stderr).toMatch(/uri/)
      expect(stdout + stderr).not.toMatch(/pa\/ss|me:pass|@w/)
    },
  )
})
