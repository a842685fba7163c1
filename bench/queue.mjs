// A thousand runs on a cluster, played through: a real Redis, real workers in processes of their own, runs that only wait.
//   node bench/queue.mjs [--runs 1000] [--workers 100] [--seconds 20] [--kill 5]
// Prints what the queue and the shared folder had to bear. Needs redis-server.
import { fork, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import launcher, { work } from '@graft-peft/bullmq'
import { Redis } from 'ioredis'
import { Random } from 'graft-peft'

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    workers: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '20' },
    kill: { type: 'string', default: '5' },
    as: { type: 'string' },
    url: { type: 'string' },
  },
})
const [runs, workers, seconds, kills] = [flags.runs, flags.workers, flags.seconds, flags.kill].map(Number)
const log = () => {}

/** A run that takes between half and one and a half times the mean, reports each second, and leaves a result. */
async function pretend({ id, folder }, signal, onProgress) {
  const total = Math.ceil(seconds * new Random(0, id).uniform(0.5, 1.5))
  for (let step = 1; step <= total && !signal.aborted; step++) {
    await sleep(1000)
    onProgress({ step, total, loss: 1 / step })
  }
  if (signal.aborted) return { ok: false, reason: 'stopped' }
  writeFileSync(join(folder, 'result.json'), '{}')
  return { ok: true }
}

if (flags.as === 'worker') {
  await work({
    url: flags.url,
    queue: 'graft',
    concurrency: workers,
    patience: 10,
    execute: pretend,
    onNotice: log,
    signal: new AbortController().signal,
  })
} else await simulate()

async function simulate() {
  const folder = mkdtempSync(join(tmpdir(), 'graft-queue-'))
  const port = 20000 + Math.floor(Math.random() * 20000)
  const server = spawn(
    'redis-server',
    ['--port', `${port}`, '--dir', folder, '--appendonly', 'yes', '--save', ''],
    { stdio: 'ignore' },
  )
  await sleep(1000)
  const url = `redis://127.0.0.1:${port}`
  // Workers share processes here, so that a hundred of them fit on one machine.
  const processes = Math.max(2, availableParallelism()) * 2
  const start = () =>
    fork(new URL(import.meta.url), [
      '--as',
      'worker',
      '--url',
      url,
      '--workers',
      `${Math.ceil(workers / processes)}`,
      '--seconds',
      `${seconds}`,
    ])
  const alive = Array.from({ length: processes }, start)
  const jobs = Array.from({ length: runs }, (_, i) => ({
    id: `run-${i}`,
    folder: join(folder, `run-${i}`),
    threads: 1,
    memory: 0,
  }))
  for (const job of jobs) mkdirSync(job.folder)
  const redis = new Redis(url)
  const began = performance.now()
  const ended = new Map()
  let told = 0
  const peak = { memory: 0, commands: 0 }
  const watch = setInterval(async () => {
    const [memory, stats] = [await redis.info('memory'), await redis.info('stats')]
    peak.memory = Math.max(peak.memory, Number(memory.match(/used_memory:(\d+)/)[1]))
    peak.commands = Math.max(peak.commands, Number(stats.match(/instantaneous_ops_per_sec:(\d+)/)[1]))
  }, 500)
  for (let k = 0; k < kills; k++)
    setTimeout(
      () => {
        alive.shift().kill('SIGKILL')
        alive.push(start())
      },
      (k + 1) * seconds * 500,
    )
  const context = {
    execute: pretend,
    onProgress: () => told++,
    onEnd: ({ id }, { ok }) => ended.set(id, ok && !ended.has(id)),
    onNotice: console.error,
    signal: new AbortController().signal,
  }
  await launcher.launch(jobs, { url, queue: 'graft', attempts: 3 }, context)
  const wall = (performance.now() - began) / 1000
  clearInterval(watch)
  const total = Number((await redis.info('stats')).match(/total_commands_processed:(\d+)/)[1])
  const cpu = (await redis.info('cpu')).match(/used_cpu_user:([\d.]+)/)[1]
  const ideal =
    jobs.reduce((sum, { id }) => sum + Math.ceil(seconds * new Random(0, id).uniform(0.5, 1.5)), 0) / workers
  const written = (await redis.info('persistence')).match(/aof_current_size:(\d+)/)?.[1]
  console.log(
    JSON.stringify(
      {
        runs,
        workers,
        mean_seconds: seconds,
        killed_processes: kills,
        runs_lost_each: Math.ceil(workers / processes),
        ended_once: [...ended.values()].filter(Boolean).length,
        wall_s: Math.round(wall),
        ideal_s: Math.round(ideal),
        progress_told: told,
        redis: {
          commands_per_s: Math.round(total / wall),
          most_per_s: peak.commands,
          memory_mb: +(peak.memory / 1e6).toFixed(1),
          cpu_s: Number(cpu),
          log_mb: +(Number(written) / 1e6).toFixed(1),
        },
      },
      null,
      2,
    ),
  )
  for (const child of alive) child.kill('SIGKILL')
  redis.disconnect()
  server.kill()
  await sleep(300)
  rmSync(folder, { recursive: true, force: true })
  process.exit(0)
}
