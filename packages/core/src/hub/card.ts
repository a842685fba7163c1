import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { readObject } from '../files/json.js'
import { type EvaluationLine as Evaluated, readLog } from '../files/log.js'
import { parseRepository } from './settings.js'

const json = (path: string): Record<string, unknown> | undefined =>
  existsSync(path) ? readObject(path, 'BAD_ADAPTER') : undefined

/** The last evaluation of a run, from its log beside the adapter's folder. */
function results(folder: string): Evaluated[] {
  return readLog(join(folder, '..', 'log.jsonl')).filter((e): e is Evaluated => e.phase === 'after')
}
/**
 * A base model is named on the card where the Hub knows it: by a name of its own, or by the cache folder it
 * lies in.
 */
export function hubName(base: unknown): string | undefined {
  if (typeof base !== 'string') return undefined
  const fromCache = base.match(/models--([^/]+)--([^/]+)\/snapshots\//)
  if (fromCache) return `${fromCache[1]}/${fromCache[2]}`
  return parseRepository(base)?.name
}

/** A model card for an adapter (or a model) as its files and its run describe it. */
export function modelCard(folder: string, name: string): string {
  const adapter = json(join(folder, 'adapter_config.json'))
  const manifest = json(join(folder, 'graft.json'))
  const base = hubName(adapter?.base_model_name_or_path)
  const rows = results(folder).map(
    ({ step: _step, phase: _phase, part, ...numbers }) =>
      `| ${part} | ${Object.entries(numbers)
        .map(([k, v]) => `${k} ${Number(v).toFixed(4)}`)
        .join(', ')} |`,
  )
  const options = manifest
    ? Object.entries(manifest.options as object).filter(
        ([, v]) => v !== null && v !== false && !(typeof v === 'object' && Object.keys(v).length === 0),
      )
    : []
  return [
    '---',
    ...(base ? [`base_model: ${base}`] : []),
    `library_name: ${adapter ? 'peft' : 'transformers'}`,
    'tags:',
    '- graft',
    ...(manifest ? [`- ${manifest.method}`] : []),
    '---',
    '',
    `# ${basename(name)}`,
    '',
    adapter
      ? `An adapter${manifest ? ` trained with Graft by ${manifest.method} for ${manifest.objective}` : ''}${base ? ` on ${base}` : ''}.`
      : 'A model merged with Graft.',
    ...(options.length > 0
      ? [
          '',
          '| option | value |',
          '| --- | --- |',
          ...options.map(([k, v]) => `| ${k} | ${JSON.stringify(v)} |`),
        ]
      : []),
    ...(rows.length > 0 ? ['', '| data | results |', '| --- | --- |', ...rows] : []),
    ...(adapter
      ? [
          '',
          '## Use',
          '',
          '```sh',
          `graft pull ${name}`,
          manifest?.objective === 'causal-lm'
            ? `graft generate ${base ?? 'BASE'} --adapter ${name} --prompt "…"`
            : `graft predict ${name} questions.jsonl${base ? ` --model ${base}` : ''}`,
          '```',
          '',
          '```python',
          'from peft import PeftModel',
          `model = PeftModel.from_pretrained(base_model, "${name}")`,
          '```',
        ]
      : []),
    '',
  ].join('\n')
}
