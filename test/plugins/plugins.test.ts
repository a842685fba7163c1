import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { graft, root, sprout, temporaryFolder, writeRun } from '../fixture.js'

/** A folder where packages of Graft are installed as npm would: links, since they are not published yet. */
function workplace(): string {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'node_modules/@graft-peft'), { recursive: true })
  for (const name of ['core', 'onnx', 'method-tester'])
    symlinkSync(join(root, 'packages', name), join(folder, 'node_modules/@graft-peft', name))
  return folder
}
/** Packs a package and installs the tarball. */
function install(source: string, folder: string): void {
  const quiet = { stdio: 'pipe' as const, encoding: 'utf8' as const }
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', source, '--json', '--pack-destination', folder], { ...quiet, cwd: folder }),
  )
  mkdirSync(join(folder, 'unpacked'))
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', join(folder, 'unpacked')])
  const { name } = JSON.parse(readFileSync(join(folder, 'unpacked/package/package.json'), 'utf8'))
  execFileSync('cp', ['-r', join(folder, 'unpacked/package'), join(folder, 'node_modules', name)])
}
const events = (stdout: string): Record<string, never>[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('a package from outside', () => {
  it('brings its method and its objective, trains, predicts; nothing outside it knows it', async () => {
    const folder = workplace()
    install(join(root, 'examples/plugin'), folder)
    const config = writeRun(folder, {
      plugins: ['graft-method-example'],
      method: { name: 'scale-shift', target_modules: 'all-linear' },
      objective: 'smoothed-classification',
    })
    const { code, stdout, stderr } = await graft(['train', config, '--json'])
    expect(code, stderr).toBe(0)
    const end = events(stdout).at(-1) as unknown as {
      before: { validation: { loss: number } }
      after: { validation: { loss: number } }
    }
    expect(end.after.validation.loss).toBeLessThan(end.before.validation.loss)
    const plugin = join(folder, 'node_modules/graft-method-example')
    const unnamed = await graft(['predict', join(folder, 'out/adapter'), join(folder, 'train.jsonl')])
    expect(unnamed.stderr).toMatch(/no installed method has peft_type SCALE_SHIFT.*--plugins/s)
    const predicted = await graft([
      'predict',
      join(folder, 'out/adapter'),
      join(folder, 'train.jsonl'),
      '--plugins',
      plugin,
    ])
    expect(predicted.code, predicted.stderr).toBe(0)
    expect(events(predicted.stdout)).toHaveLength(32)
    const listed = await graft(['methods', '--plugins', plugin, '--json'])
    expect(JSON.parse(listed.stdout)).toContainEqual(
      expect.objectContaining({ name: 'scale-shift', kind: 'method', version: '1.0.0', merges: false }),
    )
    const names = 'scale-shift|graft-method-example|smoothed-classification'
    const found = spawnSync(
      'grep',
      [
        '-rlE',
        names,
        '--include=*.ts',
        '--include=*.mjs',
        '--include=*.json',
        '--exclude-dir=node_modules',
        '--exclude-dir=dist',
        'packages',
        'scripts',
        'bench',
        'package.json',
      ],
      { cwd: root, encoding: 'utf8' },
    )
    expect(found.stdout).toBe('')
  })

  it('passes the conformance kit under node:test', () => {
    const folder = workplace()
    install(join(root, 'examples/plugin'), folder)
    execFileSync('cp', [
      '-r',
      join(root, 'examples/plugin/test'),
      join(folder, 'node_modules/graft-method-example/test'),
    ])
    const output = execFileSync(process.execPath, ['--test', 'test/'], {
      cwd: join(folder, 'node_modules/graft-method-example'),
      encoding: 'utf8',
    })
    expect(output).toMatch(/# fail 0/)
  })

  it('graft new method writes a package that builds, tests and trains as it stands', async () => {
    const folder = workplace()
    const own = join(folder, 'mine')
    expect(
      (
        await graft([
          'new',
          'method',
          'graft-method-mine',
          '--dir',
          own,
          '--model',
          join(root, 'examples/support-intents/model'),
        ])
      ).code,
    ).toBe(0)
    symlinkSync(join(folder, 'node_modules'), join(own, 'node_modules'))
    execFileSync(
      process.execPath,
      [
        join(root, 'node_modules/typescript/bin/tsc'),
        '-p',
        own,
        '--typeRoots',
        join(root, 'node_modules/@types'),
      ],
      {
        encoding: 'utf8',
        stdio: 'pipe',
      },
    )
    expect(execFileSync(process.execPath, ['--test', 'test/'], { cwd: own, encoding: 'utf8' })).toMatch(
      /# fail 0/,
    )
    expect(readFileSync(join(own, 'src/index.ts'), 'utf8').split('\n').length).toBeLessThan(60)
    const trained = await graft(['train', join(own, 'train.yaml')])
    expect(trained.code, trained.stderr).toBe(0)
    expect(existsSync(join(own, 'out/adapter/adapter_model.safetensors'))).toBe(true)
    expect((await graft(['new', 'method', 'graft-method-mine', '--dir', own])).stderr).toMatch(/is not empty/)
    expect((await graft(['new', 'method', '../Evil', '--dir', join(folder, 'x')])).stderr).toMatch(
      /not a package name/,
    )
  })
})

describe('a plugin that is not right: one paragraph, nothing written', () => {
  const method = (name: string, attach: string, apiVersion = 1) =>
    `export default { kind: 'method', name: '${name}', apiVersion: ${apiVersion}, peftType: 'X', mergeable: false, summary: '', startsAsIdentity: () => true, configSchema: { type: 'object', additionalProperties: false, properties: {} }, attach(context) { ${attach} } }`
  const cases: [string, Record<string, string>, string, RegExp][] = [
    ['is not there', {}, 'broken', /plugins: \.\/broken\.mjs: .*is not there\. .*PLUGIN_NOT_FOUND/s],
    [
      'throws when imported',
      { 'broken.mjs': 'throw new Error("no such device")' },
      'broken',
      /importing .*broken\.mjs threw: no such device.*PLUGIN_FAILED/s,
    ],
    [
      'is no plugin',
      { 'broken.mjs': 'export default { hello: 1 }' },
      'broken',
      /broken\.mjs is not a plugin: its default export is an object with the keys hello;.*BAD_PLUGIN/s,
    ],
    [
      'exports nothing',
      { 'broken.mjs': 'export const a = 1' },
      'broken',
      /its default export is nothing;.*BAD_PLUGIN/s,
    ],
    [
      'takes a built-in name',
      { 'broken.mjs': method('lora', 'return {}') },
      'lora',
      /Two methods are named lora: one from @graft-peft\/lora, one from \.\/broken\.mjs.*DUPLICATE_PLUGIN/s,
    ],
    [
      'is of another version',
      { 'broken.mjs': method('broken', 'return {}', 2) },
      'broken',
      /apiVersion 2; this Graft knows 1/,
    ],
    [
      'throws in attach',
      { 'broken.mjs': method('broken', 'context.model.nowhere.map()') },
      'broken',
      /Method broken threw: .*nowhere|undefined.*PLUGIN_FAILED/s,
    ],
  ]
  for (const [what, files, name, message] of cases)
    it(what, async () => {
      const folder = temporaryFolder()
      for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text)
      const config = writeRun(folder, { plugins: ['./broken.mjs'], method: name })
      const { code, stderr } = await graft(['train', config])
      expect(code).toBe(1)
      expect(stderr).toMatch(message)
      expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
      expect(readdirSync(folder).filter((f) => /adapter|safetensors/.test(f))).toEqual([])
      expect(existsSync(join(folder, 'out/adapter'))).toBe(false)
    })
  it('two plugins of one name: both are named', async () => {
    const folder = temporaryFolder()
    for (const file of ['one.mjs', 'two.mjs']) writeFileSync(join(folder, file), method('twin', 'return {}'))
    const { stderr } = await graft([
      'train',
      writeRun(folder, { plugins: ['./one.mjs', './two.mjs'], method: 'twin' }),
    ])
    expect(stderr).toMatch(/Two methods are named twin: one from \.\/one\.mjs, one from \.\/two\.mjs/)
  })
  it('a method that no plugin brings: near misses, the list, the line to add', async () => {
    const { stderr } = await graft(['train', writeRun(temporaryFolder(), { method: 'scale-shift' })])
    expect(stderr).toMatch(/scale-shift is not built in.*Known: .*\blora\b.*add to the config: plugins: \[/s)
  })
})

it('the example names a model that is there', () => expect(existsSync(sprout)).toBe(true))
