// Takes the steps of the Dockerfile without Docker: each stage is a folder, and a path of the image lies inside it. Knows the
// instructions that ours has, and refuses others, so that none goes untried.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Instructions with what stands behind them; comments and empty lines left out. */
const instructions = (text) =>
  text
    .split('\n')
    .filter((line) => line.trim() && !line.startsWith('#'))
    .map((line) => line.match(/^([A-Z]+) +(.*)$/).slice(1))

/** A command's text with each folder of the image that the steps name led to where `place` has it. */
const translate = (text, steps, place) => {
  const folders = new Set(steps.flatMap(([, words]) => words.match(/(?<=^|[\s"])\/\w+/g) ?? []))
  return text.replaceAll(new RegExp(`(?<![\\w.])(${[...folders].join('|')})\\b`, 'g'), place)
}

/**
 * Builds what the Dockerfile in `context` describes, in `folder`. The first stage, which copies everything, is `context` itself,
 * so that what is installed and built there already is not made again. Returns the stages by name, the last as `last`: its
 * `root` here, the folder it starts `at`, the `entry` it starts with, the `command` that
 * follows where none is given, and the `seconds` its last RUN took.
 */
export function buildImage(context, folder) {
  const steps = instructions(readFileSync(join(context, 'Dockerfile'), 'utf8'))
  const stages = {}
  let stage
  /** A path of the image, as it lies here. */
  const place = (path, { root } = stage) => join(root, path)
  const translated = (text) => translate(text, steps, (path) => place(path))

  const take = {
    FROM(text) {
      const name = text.match(/ AS (\w+)$/)?.[1] ?? 'last'
      stage = stages[name] = { root: join(folder, name) }
      mkdirSync(stage.root, { recursive: true })
    },
    WORKDIR(path) {
      stage.at = place(path)
      mkdirSync(stage.at, { recursive: true })
    },
    COPY(text) {
      const [, from, source, target] = text.match(/^(?:--from=(\w+) )?(\S+) (\S+)$/)
      if (from) cpSync(place(source, stages[from]), place(target), { recursive: true })
      else if (source === '.' && target === '.') stage.at = context
      else throw new Error(`Dockerfile: COPY ${text}: only "COPY . ." is known here.`)
    },
    RUN(command) {
      const began = performance.now()
      const { status, stdout, stderr } = spawnSync(translated(command), {
        cwd: stage.at,
        encoding: 'utf8',
        shell: true,
        env: { ...process.env, npm_config_prefer_offline: 'true' },
      })
      if (status !== 0) throw new Error(`Dockerfile: RUN ${command} failed:\n${stdout}\n${stderr}`)
      stage.seconds = (performance.now() - began) / 1000
    },
    ENTRYPOINT(list) {
      stage.entry = JSON.parse(translated(list))
    },
    CMD(list) {
      stage.command = JSON.parse(list)
    },
  }
  for (const [instruction, text] of steps) {
    if (!(instruction in take))
      throw new Error(`Dockerfile: ${instruction} is not known to scripts/image.mjs.`)
    take[instruction](text)
  }
  return stages
}
