import type { Summary } from '../table.js'
import type { Chart } from './charts.js'
import { type Column, isBest } from './columns.js'

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

/** The report for a repository's pages: table, findings, pictures beside it. */
export function markdown(
  summary: Summary,
  charts: readonly Chart[],
  columns: readonly Column[],
  noise: readonly string[],
): string {
  const { rows, picks, seeds, metric, machine, graft, runtime, node, model, data } = summary
  const head = ['method', ...columns.map((c) => c.title)]
  const body = rows.map((row) => [
    row.label,
    ...columns.map((c) => (isBest(c, row, rows) ? `**${c.text(row)}**` : c.text(row))),
  ])
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  const failures = rows.flatMap((r) => r.failures.map((why) => `- ${r.label} failed: ${cell(why)}`))
  return `${[
    `# ${rows.length} methods on ${model}`,
    `Trained on ${data.train}${data.test ? `, tested on ${data.test}` : ''}; ${seeds.length} seeds, ± 95 % interval of the mean; sorted by ${metric.name} (${metric.part}). Best of each column in bold.`,
    [line(head), line(['---', ...columns.map(() => '---:')]), ...body.map(line)].join('\n'),
    ...(failures.length > 0 ? [failures.join('\n')] : []),
    ...(noise.length > 0 ? [noise.map((n) => `- ${n}.`).join('\n')] : []),
    ...(picks.length > 0
      ? ['## What would I pick?', picks.map((p) => `- ${p.priority}: **${p.label}** — ${p.why}.`).join('\n')]
      : []),
    ...(charts.length > 0
      ? ['## Pictures', ...charts.map((c) => `![${c.title}](charts/${c.id}.svg)\n\n${c.caption}`)]
      : []),
    `Graft ${graft}, ONNX Runtime ${runtime}, Node ${node}; ${machine}.`,
  ].join('\n\n')}\n`
}

/** The table alone, numbers unrounded. */
export function csv({ rows, seeds }: Summary, columns: readonly Column[]): string {
  const quote = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const head = ['method', 'done', 'seeds', ...columns.map((c) => c.key), 'interval', 'failure']
  const lines = rows.map((r) =>
    [
      r.label,
      r.done,
      seeds.length,
      ...columns.map((c) => c.value(r) ?? ''),
      r.metric?.half ?? '',
      r.failures.join(' '),
    ]
      .map((v) => quote(String(v)))
      .join(','),
  )
  return `${[head.join(','), ...lines].join('\n')}\n`
}
