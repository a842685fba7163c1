import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { graft, root, temporaryFolder, writeRun } from '../fixture.js'

/** Runs a command line whose reader goes away after its first line; gives its exit status and what it said. */
function headOf(args: readonly string[]): Promise<{ status: string; stderr: string; stdout: string }> {
  const words = [process.execPath, join(root, 'packages/cli/bin/graft.js'), ...args]
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', '"$@" | head -1; echo "status ${PIPESTATUS[0]}"', 'bash', ...words])
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (d) => (stdout += d))
    child.stderr.on('data', (d) => (stderr += d))
    child.on('close', () => resolve({ status: stdout.match(/status (\d+)/)?.[1] ?? 'none', stderr, stdout }))
  })
}

test('predict - answers each line before the next one comes', async () => {
  const folder = temporaryFolder()
  expect((await graft(['train', writeRun(folder, { training: { epochs: 1 } })])).code).toBe(0)
  const words = [join(root, 'packages/cli/bin/graft.js'), 'predict', join(folder, 'out/adapter'), '-']
  const child = spawn(process.execPath, words)
  const answers: string[] = []
  await new Promise<void>((resolve) => {
    child.on('close', () => resolve())
    child.stdout.on('data', (data) => {
      answers.push(String(data))
      if (answers.length === 1) child.stdin.write('{"text": "when do you open"}\n')
      else child.stdin.end()
    })
    child.stdin.write('{"text": "where is my parcel"}\n')
  })
  expect(answers).toHaveLength(2)
  expect(JSON.parse(answers[1])).toMatchObject({ text: 'when do you open', score: expect.any(Number) })
})

describe('a reader that leaves early', () => {
  const folder = temporaryFolder()
  const many = join(folder, 'many.jsonl')
  beforeAll(async () => {
    writeFileSync(many, `${'{"text": "where is the parcel that I sent"}\n'.repeat(3000)}`)
    const { code, stderr } = await graft(['train', writeRun(folder, { training: { epochs: 1 } })])
    expect(code, stderr).toBe(0)
  })

  test('ends predict without a word, with work in flight', async () => {
    const { status, stdout, stderr } = await headOf(['predict', join(folder, 'out/adapter'), many])
    expect([status, stderr]).toEqual(['0', ''])
    expect(stdout).toMatch(/^\{"text":/)
  })
  test('ends a run that reports to it', async () => {
    const config = writeRun(folder, { output: 'long', training: { epochs: 1000 } })
    const { status, stderr, stdout } = await headOf(['train', config, '--json'])
    expect([status, stderr]).toEqual(['0', ''])
    expect(stdout).toMatch(/^\{"event":"/)
  })
})

test('a disk that is full is said, exit 1', async () => {
  const words = [process.execPath, join(root, 'packages/cli/bin/graft.js'), 'methods', '--json']
  const { code, stderr } = await new Promise<{ code: number | null; stderr: string }>((resolve) => {
    const child = spawn('bash', ['-c', '"$@" > /dev/full', 'bash', ...words])
    let stderr = ''
    child.stderr.on('data', (d) => (stderr += d))
    child.on('close', (code) => resolve({ code, stderr }))
  })
  expect(code).toBe(1)
  expect(stderr).toMatch(/the output can't be written: .*ENOSPC/)
})
