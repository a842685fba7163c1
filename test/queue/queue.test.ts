import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { backOff } from '@graft-peft/bullmq'
import type { RunResult, Summary } from '@graft-peft/compare'
import { afterEach, describe, expect, it } from 'vitest'
import { found, graft, root, temporaryFolder, writeComparison } from '../fixture.js'

const redis = found('redis-server', 'runs over a queue') ?? found('valkey-server', 'runs over a queue')

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})
const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => done(port))
    })
  })
async function startRedis(port: number, folder: string): Promise<ChildProcess> {
  const child = spawn(
    redis as string,
    ['--port', `${port}`, '--dir', folder, '--appendonly', 'yes', '--save', ''],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  children.push(child)
  await new Promise<void>((done) =>
    child.stdout?.on('data', (d) => String(d).includes('Ready to accept') && done()),
  )
  return child
}
interface Worker {
  child: ChildProcess
  said: string
}
function startWorker(url: string): Worker {
  const child = spawn(process.execPath, [
    join(root, 'packages/cli/bin/graft.js'),
    'worker',
    '--queue',
    url,
    '--patience',
    '4',
  ])
  children.push(child)
  const worker = { child, said: '' }
  child.stderr.on('data', (d) => (worker.said += d))
  return worker
}
const until = async (what: () => boolean, seconds = 60): Promise<void> => {
  for (let k = 0; k < seconds * 10 && !what(); k++) await sleep(100)
  expect(what()).toBe(true)
}
const begun = (worker: Worker) => [...worker.said.matchAll(/(\S+) begins/g)].map((m) => m[1])

describe.skipIf(!redis)('runs over a queue', () => {
  it('three workers, one killed and Redis restarted in mid-run: nothing lost, nothing twice', async () => {
    const [folder, data] = [temporaryFolder(), temporaryFolder()]
    const port = await freePort()
    const url = `redis://127.0.0.1:${port}`
    const server = await startRedis(port, data)
    const workers = [1, 2, 3].map(() => startWorker(url))
    const methods = [
      { name: 'lora', r: 4, target_modules: ['q_proj', 'v_proj'] },
      'ia3',
      { name: 'vera', r: 8, target_modules: ['q_proj', 'v_proj'] },
    ]
    const config = writeComparison(
      folder,
      { methods, seeds: 2, launcher: { name: 'bullmq', url } },
      { training: { max_steps: 250, save_every: 20, eval_every: 250 } },
    )
    const running = graft(['compare', config, '--json'])
    await until(() => workers.every((w) => begun(w).length > 0))
    const [victim] = begun(workers[0])
    const checkpoint = join(folder, 'out/runs', victim, 'out/checkpoints/last.safetensors')
    await until(() => existsSync(checkpoint))
    await sleep(500)
    workers[0].child.kill('SIGKILL')
    server.kill('SIGTERM')
    await sleep(2500)
    await startRedis(port, data)
    const { code, stderr, stdout } = await running
    expect(code, stderr).toBe(0)
    const results = readFileSync(join(folder, 'out/results.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RunResult)
    expect(results.map((r) => r.status)).toEqual(new Array(6).fill('done'))
    expect(new Set(results.map((r) => r.id)).size).toBe(6)
    expect(results.every((r) => r.steps === 250)).toBe(true)
    expect(stdout).toContain('"event":"progress"')
    // Another worker took the killed one's run over, and went on from its checkpoint.
    expect([...begun(workers[1]), ...begun(workers[2])]).toContain(victim)
    const alone = temporaryFolder()
    expect(
      (
        await graft([
          'compare',
          writeComparison(
            alone,
            { methods, seeds: 2 },
            { training: { max_steps: 250, save_every: 20, eval_every: 250 } },
          ),
        ])
      ).code,
    ).toBe(0)
    expect(adapters(folder)).toEqual(adapters(alone))
    const [one, other] = [folder, alone].map((f) =>
      (JSON.parse(readFileSync(join(f, 'out/report.json'), 'utf8')) as Summary).rows.map((r) => [
        r.label,
        r.metric,
      ]),
    )
    expect(one).toEqual(other)
    // What the others said while Redis was gone: once that it is gone, once that it is back.
    expect(workers[1].said.match(/is gone/g)).toHaveLength(1)
    expect(workers[1].said.match(/is back/g)).toHaveLength(1)
  })

  it('a worker whose Redis is gone backs off instead of spinning', async () => {
    const port = await freePort()
    const server = await startRedis(port, temporaryFolder())
    const worker = startWorker(`redis://127.0.0.1:${port}`)
    await until(() => worker.said.includes('Waiting for runs'))
    await sleep(1000)
    server.kill('SIGKILL')
    await sleep(1000)
    const before = cpuSeconds(worker.child.pid as number)
    await sleep(4000)
    expect(cpuSeconds(worker.child.pid as number) - before).toBeLessThan(0.4)
    worker.child.kill('SIGTERM')
    await until(() => worker.child.exitCode !== null || worker.child.signalCode !== null, 20)
  })

  it('says that no Redis answers, before anything runs', async () => {
    const folder = temporaryFolder()
    const port = await freePort()
    const { code, stderr } = await graft([
      'compare',
      writeComparison(folder, {
        methods: ['ia3'],
        launcher: { name: 'bullmq', url: `redis://user:secret@127.0.0.1:${port}` },
      }),
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/no Redis answers there .*\[QUEUE_UNREACHABLE\]/s)
    expect(stderr).not.toContain('secret')
  })
})

it('waits longer and longer for a Redis that is gone, a quarter of a minute at most', () => {
  const waits = Array.from({ length: 20 }, (_, k) => backOff(k + 1))
  expect(waits).toEqual([...waits].sort((a, b) => a - b))
  expect(waits[0]).toBe(200)
  expect(waits.at(-1)).toBe(15_000)
})

const adapters = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(join(folder, 'out/runs')).map((run) => [
      run,
      digest(join(folder, 'out/runs', run, 'out/adapter/adapter_model.safetensors')),
    ]),
  )
/** User and system time of a process (proc(5), stat). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}
const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')
