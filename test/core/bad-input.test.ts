import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { makeFolder } from '@graft-peft/core/inside'
import { Builder, Graph, readOnnx, writeOnnx } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import {
  example,
  type Finished,
  graft,
  type Settings,
  sprout,
  temporaryFolder,
  writeRun,
} from '../fixture.js'

const good = [
  '{"text":"where is it","label":"a"}',
  '{"text":"my card failed","label":"b"}',
  '{"text":"where are you","label":"a"}',
  '{"text":"card again","label":"b"}',
]

/** Trains with something wrong: the run must fail with one clear paragraph, no stack, and leave no adapter. */
async function failure(
  settings: Settings,
  lines?: readonly string[],
  prepare?: (folder: string) => void,
  overrides: string[] = [],
): Promise<Finished & { folder: string }> {
  const folder = temporaryFolder()
  const config = writeRun(folder, settings, lines)
  prepare?.(folder)
  const result = await graft(['train', config, ...overrides])
  expect(result.code, result.stderr).toBe(1)
  expect(result.stderr).not.toMatch(/\n\s+at /)
  expect(existsSync(join(folder, 'out/adapter'))).toBe(false)
  const left = readdirSync(folder, { recursive: true }).filter((f) => String(f).includes('.partial'))
  expect(left).toEqual([])
  return { ...result, folder }
}

/** The embedded model in a folder of its own, to be damaged. */
function modelCopy(folder: string): string {
  cpSync(join(example, 'model'), join(folder, 'model'), { recursive: true })
  return join(folder, 'model/onnx/model.onnx')
}

describe('the config', () => {
  it('misspelt key: names file, line, column and the nearest key', async () => {
    const { stderr, folder } = await failure({ training: { learning_rat: 0.1 } })
    expect(stderr).toMatch(`${folder}/config.yaml:`)
    expect(stderr).toMatch(
      /config\.yaml:\d+:\d+: training\.learning_rat: unknown key learning_rat\. Did you mean learning_rate\?/,
    )
    const line = Number(stderr.match(/config\.yaml:(\d+):/)?.[1])
    expect(readFileSync(join(folder, 'config.yaml'), 'utf8').split('\n')[line - 1]).toContain('learning_rat:')
  })
  it('a key that every object has by birth is as unknown as any', async () => {
    const { stderr } = await failure({ training: { constructor: 1 } })
    expect(stderr).toMatch(/training\.constructor: unknown key constructor\. Known: /)
  })
  it("misspelt method option: lists the method's options", async () => {
    const { stderr } = await failure({ method: { name: 'lora', rank: 8 } })
    expect(stderr).toMatch(/method\.rank: unknown key rank\..*Known: r, lora_alpha/)
  })
  it('unknown method: names the nearest', async () => {
    expect((await failure({ method: 'lara' })).stderr).toMatch(
      /lara is not built in.*Did you mean lora\?.*plugins: \[/s,
    )
  })
  it('wrong override: shows the override', async () => {
    expect((await failure({}, undefined, undefined, ['training.epochs=many'])).stderr).toMatch(
      /override training\.epochs=many: training\.epochs: must be integer, got "many"/,
    )
  })
  it('a value of none of some kinds: one fault, with all of them', async () => {
    const { stderr } = await failure({
      training: { max_steps: 'few' },
      method: { name: 'lora', target_modules: [7] },
    })
    expect(stderr).toMatch(/training\.max_steps: must be integer or null, got "few"\. \[BAD_CONFIG\]/)
    expect(stderr.match(/must be/g)).toHaveLength(1)
    const { stderr: inside } = await failure({ method: { name: 'lora', target_modules: [7] } })
    expect(inside).toMatch(/method\.target_modules\.0: must be string, got 7/)
    expect(inside.match(/must be/g)).toHaveLength(1)
  })
  it('broken YAML: file, line and column', async () => {
    expect(
      (await failure({}, undefined, (f) => writeFileSync(join(f, 'config.yaml'), 'model: [1, 2'))).stderr,
    ).toMatch(/config\.yaml:.*line 1, column/s)
  })
  it('target that matches nothing: the nearest and what there is', async () => {
    const { stderr } = await failure({ method: { name: 'lora', target_modules: ['q_prj'] } })
    expect(stderr).toMatch(
      /q_prj matches no module.*Did you mean q_proj\?.*end in: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head, embed_tokens/s,
    )
  })
  it('modules_to_save that matches nothing', async () => {
    expect((await failure({ method: { name: 'lora', modules_to_save: ['lm_hed'] } })).stderr).toMatch(
      /lm_hed matches no module.*Did you mean lm_head\?/s,
    )
  })
})

describe('the model', () => {
  it('file missing', async () => {
    expect((await failure({ model: 'nowhere/model.onnx' })).stderr).toMatch(
      /nowhere\/model\.onnx: no such file/,
    )
  })
  it('weights missing', async () => {
    const { stderr } = await failure({ model: 'model' }, undefined, (f) => {
      mkdirSync(join(f, 'model'))
      copyFileSync(sprout, join(f, 'model/model.onnx'))
    })
    expect(stderr).toMatch(/model\.onnx\.data/)
  })
  it('weights truncated', async () => {
    expect(
      (await failure({ model: 'model' }, undefined, (f) => truncateSync(`${modelCopy(f)}.data`, 1_000_000)))
        .stderr,
    ).toMatch(/model\.onnx\.data.*truncated|truncated.*|ends after|fetch or export it again/is)
  })
  it('graph truncated', async () => {
    expect(
      (await failure({ model: 'model' }, undefined, (f) => truncateSync(modelCopy(f), 200_000))).stderr,
    ).toMatch(/model\.onnx.*(truncated|damaged|ends)/is)
  })
  it('not a model at all', async () => {
    expect((await failure({ model: 'train.jsonl' })).stderr).toMatch(/train\.jsonl/)
  })
  it('operator without a gradient rule: operator, node and module', async () => {
    const { stderr } = await failure({ model: 'model' }, undefined, (f) => {
      const file = modelCopy(f)
      const graph = readOnnx(file)
      const g = new Builder(graph)
      const hidden = [...graph.nodes].find((n) => n.scope.endsWith('layers.3.mlp.down_proj'))?.outputs[0]
      if (!hidden) throw new Error('the model has no layer 3')
      const users = [...hidden.users]
      const odd = graph.within('model.odd', () => g.op('Atan', [hidden]))
      for (const user of users) user.inputs.forEach((v, i) => v === hidden && graph.setInput(user, i, odd))
      writeOnnx(graph, file)
    })
    expect(stderr).toMatch(/Atan.*model\.odd/s)
  })
  it('static shapes: says how to export', async () => {
    const { stderr } = await failure({ model: 'static.onnx' }, undefined, (f) => {
      const g = new Builder(new Graph())
      const ids = g.graph.addInput('input_ids', 'int64', [1, 16])
      g.graph.outputs.push(g.cast(ids, 'float32'))
      writeOnnx(g.graph, join(f, 'static.onnx'))
      copyFileSync(join(example, 'model/tokenizer.json'), join(f, 'tokenizer.json'))
    })
    expect(stderr).toMatch(/input_ids has the fixed shape \[1, 16\].*dynamic/s)
  })
})

describe('the data', () => {
  it('file missing', async () => {
    expect((await failure({ data: { train: 'none.jsonl' } })).stderr).toMatch(
      /none\.jsonl: no such data file/,
    )
  })
  it('line not JSON: file, line and column', async () => {
    expect((await failure({}, [...good, '{"text": "cut off'])).stderr).toMatch(
      /train\.jsonl:5:1[78]: not JSON/,
    )
  })
  it('field missing: names the fields there are', async () => {
    expect((await failure({}, [...good, '{"txt":"where","label":"a"}'])).stderr).toMatch(
      /train\.jsonl:5: expected a text in field text.*Did you mean txt\?/s,
    )
  })
  it('label unknown in a held-out file', async () => {
    const { stderr } = await failure({ data: { validation: 'held.jsonl' } }, good, (f) =>
      writeFileSync(join(f, 'held.jsonl'), '{"text":"x","label":"c"}\n'),
    )
    expect(stderr).toMatch(/held\.jsonl:1: label c does not occur in the training data/)
  })
  it('no supervised token: max_length cuts every completion', async () => {
    const prompt = 'a long prompt that leaves no room '.repeat(10)
    const { stderr } = await failure({ data: { validation: 0, max_length: 8 } }, [
      JSON.stringify({ prompt, completion: 'yes' }),
    ])
    expect(stderr).toMatch(/has a token to learn from.*max_length 8/s)
  })
  it('max_length beyond the model', async () => {
    expect((await failure({ data: { max_length: 1_000_000 } })).stderr).toMatch(
      /data\.max_length: 1000000 is more than the model's \d+ positions/,
    )
  })
  it('too long: cut, and reported', async () => {
    const folder = temporaryFolder()
    const { stdout, code } = await graft([
      'train',
      writeRun(folder, { data: { max_length: 4 }, training: { max_steps: 1 } }),
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/train: \d+ examples longer than 4 tokens were cut/)
  })
})

describe('while training', () => {
  it('loss not finite: stops and keeps the last good checkpoint', async () => {
    const { stderr, folder } = await failure({
      training: { learning_rate: 1e38, max_grad_norm: 0, schedule: 'constant', save_every: 1 },
    })
    expect(stderr).toMatch(/Step \d+: the loss is .*learning_rate/s)
    expect(existsSync(join(folder, 'out/checkpoints/last.safetensors'))).toBe(true)
  })
  it('output taken: refuses to mix runs', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { training: { max_steps: 1 } })
    expect((await graft(['train', config])).code).toBe(0)
    expect((await graft(['train', config])).stderr).toMatch(/already holds a run.*--resume.*--overwrite/s)
  })
  it('resume with other settings: refused', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder, { training: { max_steps: 1 } })
    await graft(['train', config])
    expect((await graft(['train', config, '--resume', 'training.learning_rate=0.5'])).stderr).toMatch(
      /belongs to a run with another/,
    )
  })

  const mounted =
    spawnSync('sh', [
      '-c',
      'd=$(mktemp -d) && mount -t tmpfs -o size=64k tmpfs "$d" && umount "$d" && rmdir "$d"',
    ]).status === 0
  if (!mounted)
    console.warn(
      'SKIPPED: this machine lets no small disk be mounted; the full disk is tried through a file size limit only.',
    )
  it.runIf(mounted)('disk full: says so, and what was written stays whole', async () => {
    const folder = temporaryFolder()
    const disk = join(folder, 'out')
    mkdirSync(disk)
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', disk])
    try {
      const { stderr } = await failure({ output: disk }, undefined)
      expect(stderr).toMatch(/no room left to write it \(ENOSPC\)/)
      expect(readdirSync(disk, { recursive: true }).filter((f) => String(f).includes('partial'))).toEqual([])
    } finally {
      spawnSync('umount', [disk])
    }
  })
  it.runIf(mounted)('disk full before the first checkpoint: says so, and ends', async () => {
    const disk = temporaryFolder()
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk])
    try {
      const { stderr } = await failure({ output: disk }, undefined)
      expect(stderr).toMatch(/no room left to write it \(ENOSPC\)/)
    } finally {
      spawnSync('umount', [disk])
    }
  })
  it.runIf(mounted)('a read-only disk is called that, however deep the folder', () => {
    const disk = temporaryFolder()
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', disk])
    try {
      for (const folder of ['out', 'models/mine/out'])
        expect(() => makeFolder(join(disk, folder))).toThrow(/the disk is read-only \(EROFS\)/)
    } finally {
      spawnSync('umount', [disk])
    }
  })
  it('file too large to write: the same', async () => {
    const folder = temporaryFolder()
    const config = writeRun(folder)
    const bin = join(example, '../../packages/cli/bin/graft.js')
    // Files may not grow beyond 32 blocks of 512 bytes; the checkpoint is larger.
    const { status, stderr } = spawnSync(
      'bash',
      ['-c', `ulimit -f 16; trap '' XFSZ; exec "${process.execPath}" "${bin}" train "${config}"`],
      { encoding: 'utf8' },
    )
    expect(status, stderr).toBe(1)
    expect(stderr).toMatch(/no room left to write it \(EFBIG\)/)
    expect(
      readdirSync(folder, { recursive: true }).filter((f) => /partial|last|adapter/.test(String(f))),
    ).toEqual([])
  })
})
