import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GraftError, readJsonLines, readObject } from '@graft-peft/core'
import { openModel } from '@graft-peft/core/app'
import {
  AtomicFile,
  checked,
  checkedLine,
  ConfigSource,
  fileDigest,
  FolderLock,
  makeFolder,
  readLog,
} from '@graft-peft/core/inside'
import { loadComparison } from '@graft-peft/compare'
import { describe, expect, it, vi } from 'vitest'
import { loadCheckpoint, saveCheckpoint } from '../../packages/core/dist/trainer/checkpoint.js'
import { RunLog } from '../../packages/core/dist/trainer/log.js'
import { sprout, temporaryFolder } from '../fixture.js'
import { registry } from '../tiny.js'

const write = (name: string, text: string | Uint8Array): string => {
  const path = join(temporaryFolder(), name)
  writeFileSync(path, text)
  return path
}

it('a name that no file can have is said to be that', async () => {
  const compare = (train: string) => {
    const methods = ['ia3']
    const text = JSON.stringify({ model: sprout, data: { train }, output: 'out', compare: { methods } })
    return loadComparison(write('compare.yaml', text), registry)
  }
  await expect(compare('a\u0000b.jsonl')).rejects.toThrow(/a NUL character, which no name can hold/)
  await expect(compare(`${'b'.repeat(5000)}.jsonl`)).rejects.toThrow(/the name is longer than/)
})

describe('a folder with those above it', () => {
  it('is made once, and the first that was missing is told', () => {
    const above = temporaryFolder()
    expect(makeFolder(join(above, 'a/b/c'))).toBe(join(above, 'a'))
    expect(makeFolder(join(above, 'a/b/c'))).toBeUndefined()
    expect(() => makeFolder(join(write('file', ''), 'a'))).toThrow(
      /a part of this path is a file|something else/,
    )
  })
  it.runIf(existsSync('/proc/self'))('where the system lets none be made', () =>
    expect(() => makeFolder('/proc/here/there')).toThrow(/\/proc\/here: no such file or folder/),
  )
})

describe('what comes from outside is read with checks', () => {
  it.each([
    ['a list that breaks off', '{"a": [1,\n 2', /x\.json: not JSON \(.*line 2/s],
    ['brackets to exhaust a stack', '['.repeat(100_000), /nested more than 100 deep/],
    ['something else than an object', '[1]', /not a JSON object, but \[1\]/],
  ])('%s', (_, text, says) => expect(() => readObject(write('x.json', text), 'BAD')).toThrow(says))

  it('a byte order mark is no part of it', () =>
    expect(readObject(write('x.json', '\ufeff{"a":1}'), 'BAD')).toEqual({ a: 1 }))

  it.each([
    'model: &a [*a]',
    'model: *nowhere',
    `a: &a [x,x]\nb: &b [${'*a,'.repeat(60)}*a]\nc: [${'*b,'.repeat(60)}*b]`,
  ])('YAML that has no such form: %s', (text) =>
    expect(() => new ConfigSource(write('c.yaml', text)).contents()).toThrow(/c\.yaml: /),
  )
  it.each(['training.epochs=[1', 'a=*x', `a=${'['.repeat(3000)}`])('an override %s is one line', (text) =>
    expect(() => new ConfigSource(write('c.yaml', 'a: 1')).override(text)).toThrow(/^Override /),
  )

  it('a message spells out what a terminal would obey, and stays shorter than a screen', () => {
    const { message } = new GraftError('X', `layer \u001b[2J\u009b\u202e ${'y'.repeat(9000)} do this`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(message).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/)
    expect(message).toMatch(/^layer \\u001b\[2J.*do this$/s)
    expect(message.length).toBeLessThan(2000)
  })
})

describe("Graft's own files", () => {
  const logged = (count: number): string => {
    const path = join(temporaryFolder(), 'log.jsonl')
    for (let step = 1; step <= count; step++)
      new RunLog(path).write({ step, loss: 1.5, tokens: 3, seconds: 0.1, batch: 'ab' })
    return readFileSync(path, 'utf8')
  }

  it('a last line that a power cut left torn is dropped; a damaged one elsewhere is named', () => {
    const whole = logged(3)
    expect(readLog(write('log.jsonl', whole.slice(0, -9)))).toHaveLength(2)
    const zeros = Buffer.concat([Buffer.from(whole), Buffer.from('{"st'), Buffer.alloc(40)])
    expect(readLog(write('log.jsonl', zeros))).toHaveLength(3)
    expect(() => readLog(write('log.jsonl', whole.replace('"step":2', '"step:2')))).toThrow(
      /log\.jsonl:2: not JSON/,
    )
  })
  it('a line that was changed afterwards is refused', () => {
    const path = write('r.jsonl', checkedLine({ id: 'a', loss: 1.5 }).replace('1.5', '1.4'))
    const [changed] = readJsonLines(path, 'BAD')
    expect(() => checked(changed, path, 'BAD')).toThrow(/r\.jsonl:1: the line was changed/)
  })
  it('a checkpoint with any bit changed is refused', () => {
    const path = join(temporaryFolder(), 'last.safetensors')
    saveCheckpoint(path, {
      progress: { step: 3 } as Parameters<typeof saveCheckpoint>[1]['progress'],
      vectors: { parameters: Float32Array.from([1, 2, 3]), m: new Float32Array(3) },
      fingerprint: 'f',
    })
    expect(loadCheckpoint(path, 'f').progress.step).toBe(3)
    const bytes = readFileSync(path)
    for (let at = 8; at < bytes.length; at += 3) {
      const damaged = Buffer.from(bytes)
      damaged[at] ^= 1 << (at % 8)
      writeFileSync(path, damaged)
      try {
        // A blank of the header, or the like, may change without saying anything else.
        expect(loadCheckpoint(path, 'f').vectors.parameters).toEqual(Float32Array.from([1, 2, 3]))
      } catch (error) {
        expect(error).toBeInstanceOf(GraftError)
      }
    }
  })
  it('a file is told by its bytes, though size and date are the same', () => {
    const path = write('weights.bin', 'aaaa')
    const { atime, mtime } = statSync(path)
    const before = fileDigest(path)
    writeFileSync(path, 'bbbb')
    utimesSync(path, atime, mtime)
    expect(fileDigest(path)).not.toBe(before)
  })
  it('two that write one file do not touch each other; what a dead process left is cleared', () => {
    const path = join(temporaryFolder(), 'x.bin')
    const [a, b] = [new AtomicFile(path), new AtomicFile(path)]
    a.write('first')
    b.write('second, longer')
    b.finish()
    expect(readFileSync(path, 'utf8')).toBe('second, longer')
    a.finish()
    expect(readFileSync(path, 'utf8')).toBe('first')
    const [left] = [new AtomicFile(path)]
    const [name] = readdirSync(join(path, '..')).filter((n) => n.endsWith('.partial'))
    left.discard()
    writeFileSync(join(path, '..', name.replace(`.${process.pid}.`, '.4194303.')), 'half')
    new AtomicFile(path).discard()
    expect(readdirSync(join(path, '..'))).toEqual(['x.bin'])
  })
  it('a packed int4 base that a disk damaged is packed again', () => {
    const cache = temporaryFolder()
    vi.stubEnv('GRAFT_CACHE', cache)
    const packed = () => readdirSync(join(cache, 'int4')).filter((n) => n.endsWith('.bin'))
    const read = () => openModel(sprout, { quantize: 'int4' }).linears[0].weight.reader()()
    const before = read()
    const file = join(cache, 'int4', packed()[0])
    writeFileSync(file, Buffer.alloc(statSync(file).size))
    expect(read()).toEqual(before)
    vi.unstubAllEnvs()
  })
})

describe('an output folder has one process at a time', () => {
  it('the second is refused, until the first is done', () => {
    const folder = join(temporaryFolder(), 'out')
    const lock = FolderLock.take(folder)
    expect(() => FolderLock.take(folder)).toThrow(/another run works here, process \d+/)
    lock.release()
    expect(existsSync(folder)).toBe(false)
    FolderLock.take(folder).release()
  })
  it('who is gone is no hindrance; who lost the folder meanwhile is told before it writes', () => {
    const folder = temporaryFolder()
    const lock = FolderLock.take(folder)
    const holder = JSON.parse(readFileSync(join(folder, '.lock'), 'utf8'))
    writeFileSync(join(folder, '.lock'), JSON.stringify({ ...holder, pid: 4194303, token: 'other' }))
    expect(() => lock.require()).toThrow(/another process took this run over/)
    const next = FolderLock.take(folder)
    next.require()
    lock.release()
    next.require()
    next.release()
  })
})
