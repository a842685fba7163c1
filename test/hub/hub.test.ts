import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { pull, push } from '@graft-peft/core/app'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { graft, temporaryFolder } from '../fixture.js'
import { Hub } from './server.js'

let hub: Hub
let cache: string
const token = 'hf_test'
const settings = () => ({ endpoint: hub.url, cache, token, patience: 15, offline: false })
const weights = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 31) % 251))

beforeEach(async () => {
  hub = await Hub.open()
  cache = temporaryFolder()
  hub.repositories.set(
    'owner/model',
    new Map([
      ['config.json', Buffer.from('{"model_type":"llama"}')],
      ['model.safetensors', weights],
      ['pytorch_model.bin', Buffer.from('pickle')],
      ['onnx/model.onnx', Buffer.from('graph')],
    ]),
  )
})
afterEach(() => hub.close())

const blobs = () => readdirSync(join(cache, 'models--owner--model/blobs'))
const failure = async (name: string, given = settings()) =>
  pull(name, { settings: given }).then(
    () => 'nothing thrown',
    (e: Error) => e.message,
  )

describe('pulling', () => {
  it("fetches what Graft reads into huggingface_hub's layout, and nothing twice", async () => {
    const first = await pull('owner/model', { settings: settings() })
    expect(readdirSync(first.folder).sort()).toEqual(['config.json', 'model.safetensors'])
    expect(readFileSync(join(first.folder, 'model.safetensors'))).toEqual(weights)
    expect(first.folder).toBe(join(cache, 'models--owner--model/snapshots', hub.commit))
    expect(lstatSync(join(first.folder, 'config.json')).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(cache, 'models--owner--model/refs/main'), 'utf8')).toBe(hub.commit)
    expect(blobs()).toContain(createHash('sha256').update(weights).digest('hex'))
    hub.seen.length = 0
    const second = await pull('owner/model', { settings: settings() })
    expect(second.fetched).toBe(0)
    expect(hub.seen.filter((s) => s.includes('/resolve/'))).toEqual([])
  })
  it.each(['config.json', 'model.safetensors'])(
    "%s, damaged in the cache: fetched again, and refused where it can't be",
    async (name) => {
      const { folder } = await pull('owner/model', { settings: settings() })
      const [file, offline] = [join(folder, name), { ...settings(), offline: true }]
      const right = readFileSync(file)
      const damage = () => writeFileSync(file, Buffer.from(right).fill(right[9] ^ 4, 9, 10))
      damage()
      expect(await failure('owner/model', offline)).toMatch(
        new RegExp(`${name}: the cache's copy is damaged or missing .*HF_HUB_OFFLINE is set`),
      )
      const said: string[] = []
      const again = await pull('owner/model', { settings: settings(), onNotice: (t) => said.push(t) })
      expect(said).toEqual([`${name} in the cache is damaged; fetching it again`])
      expect(again.fetched).toBe(right.length)
      expect(readFileSync(file)).toEqual(right)
      expect((await pull('owner/model', { settings: offline })).folder).toBe(folder)
      rmSync(realpathSync(file))
      expect(await failure('owner/model', offline)).toMatch(/damaged or missing/)
    },
  )
  it('takes other files when asked', async () => {
    const { folder } = await pull('owner/model', { settings: settings(), include: ['onnx/*'] })
    expect(readFileSync(join(folder, 'onnx/model.onnx'), 'utf8')).toBe('graph')
  })
  it('goes on where a connection broke', async () => {
    hub.faults = { cutAfter: [1 << 30, 50_000, 60_000] }
    const waits: string[] = []
    const { folder } = await pull('owner/model', { settings: settings(), onNotice: (t) => waits.push(t) })
    expect(readFileSync(join(folder, 'model.safetensors'))).toEqual(weights)
    expect(hub.ranges.length).toBeGreaterThanOrEqual(1)
    expect(hub.ranges.every((r) => Number(r.match(/\d+/)?.[0]) > 0)).toBe(true)
    expect(waits.length).toBeGreaterThanOrEqual(1)
  })
  it('goes on in a later call where an earlier one was stopped', async () => {
    const name = createHash('sha256').update(weights).digest('hex')
    mkdirSync(join(cache, 'models--owner--model/blobs'), { recursive: true })
    writeFileSync(
      join(cache, 'models--owner--model/blobs', `${name}.incomplete`),
      weights.subarray(0, 123_456),
    )
    const { folder } = await pull('owner/model', { settings: settings() })
    expect(hub.ranges).toEqual(['bytes=123456-'])
    expect(readFileSync(join(folder, 'model.safetensors'))).toEqual(weights)
  })
  it('wrong checksum: thrown away, said so', async () => {
    hub.faults = { spoil: true }
    expect(await failure('owner/model')).toMatch(
      /config\.json: the bytes received are not those that the repository lists/,
    )
    expect(blobs()).toEqual([])
  })
  it('names that lead out of the folder: refused before anything is written', async () => {
    for (const name of [
      '../../evil.json',
      '/etc/evil.json',
      'a/../../evil.json',
      '..\\evil.json',
      'C:evil.json',
    ]) {
      hub.faults = { rename: { 'config.json': name } }
      expect(await failure('owner/model')).toMatch(/leads out of its folder. Refused/)
    }
    expect(readdirSync(cache)).toEqual([])
  })
  it('401, 404, 429, 500: a line each', async () => {
    hub.faults = { status: 401 }
    expect(await failure('owner/model')).toMatch(/^owner\/model: the Hub asks who you are \(401\)/)
    hub.faults = { status: 429 }
    expect(await failure('owner/model')).toMatch(/too many requests \(429\)/)
    hub.faults = { status: 500 }
    expect(await failure('owner/model')).toMatch(/answers with status 500/)
    hub.faults = {}
    expect(await failure('owner/missing')).toMatch(/^owner\/missing: not on the Hub \(404\)/)
    expect(await failure('not a name')).toMatch(/expected owner\/name/)
  })
  it('no network: a line; with the model in the cache, the model', async () => {
    const away = { ...settings(), endpoint: 'http://127.0.0.1:45679' }
    expect(await failure('owner/model', away)).toMatch(/can't be reached \(ECONNREFUSED\).*HF_HUB_OFFLINE/)
    await pull('owner/model', { settings: settings() })
    expect((await pull('owner/model', { settings: away })).folder).toMatch(/snapshots/)
    expect((await pull('owner/model', { settings: { ...away, offline: true } })).folder).toMatch(/snapshots/)
    expect(await failure('owner/other', { ...away, offline: true })).toMatch(/not in the cache/)
  })
  it('a file that the repository lists but the server has not: a line', async () => {
    hub.faults = { rename: { 'model.safetensors': 'gone.safetensors' } }
    expect(await failure('owner/model')).toMatch(/gone\.safetensors: not on the Hub \(404\)/)
  })
})

describe('pushing', () => {
  const adapter = () => {
    const folder = join(temporaryFolder(), 'adapter')
    mkdirSync(folder)
    writeFileSync(
      join(folder, 'adapter_config.json'),
      '{"peft_type":"LORA","base_model_name_or_path":"/home/me/models--owner--model/snapshots/1"}',
    )
    writeFileSync(join(folder, 'adapter_model.safetensors'), weights)
    writeFileSync(
      join(folder, 'graft.json'),
      '{"model":"/home/me/secret/model","method":"lora","objective":"causal-lm","options":{"r":8}}',
    )
    writeFileSync(
      join(folder, '../log.jsonl'),
      '{"step":9,"phase":"after","part":"test","loss":1.5,"accuracy":0.75}\n',
    )
    return folder
  }
  it('makes a repository with the files and a card from the run, and pulls it back', async () => {
    const { files } = await push(adapter(), 'me/mine', { settings: settings() })
    expect(files.sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'graft.json',
    ])
    const stored = hub.files('me/mine') as Map<string, Buffer>
    expect(stored.get('adapter_model.safetensors')).toEqual(weights)
    const card = `${stored.get('README.md')}`
    expect(card).toMatch(/base_model: owner\/model/)
    expect(card).toMatch(/accuracy 0\.7500/)
    expect(JSON.parse(`${stored.get('adapter_config.json')}`).base_model_name_or_path).toBe('owner/model')
    expect(`${stored.get('graft.json')}`).not.toMatch(/home/)
    const pulled = await pull('me/mine', { settings: settings() })
    expect(existsSync(join(pulled.folder, 'adapter_model.safetensors'))).toBe(true)
  })
  it('without a token: says how to get one', async () => {
    await expect(
      push(adapter(), 'me/mine', { settings: { ...settings(), token: undefined } }),
    ).rejects.toThrow(/HF_TOKEN/)
  })
})

it('from the command line: pulls, and an unknown repository ends in one line', async () => {
  const env = { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, HF_TOKEN: token }
  const { stdout, code } = await graft(['pull', 'owner/model', '--json'], { env })
  expect(code).toBe(0)
  expect(JSON.parse(stdout).files).toBe(2)
  const failed = await graft(['inspect', 'owner/nowhere'], { env })
  expect(failed.code).toBe(1)
  expect(failed.stderr.trim().split('\n')).toHaveLength(1)
  expect(failed.stderr).toMatch(/owner\/nowhere is no folder here.*404/)
})
