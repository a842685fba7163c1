import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Row, Summary } from '../table.js'
import type { Chart } from './charts.js'
import { type Column, isBest } from './columns.js'

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
/** A script's text inside a page: what would end it is broken up. */
const inline = (script: string): string =>
  script.replace(/<\/(script)/gi, '<\\/$1').replace(/<!--/g, '<\\!--')
const json = (value: unknown): string => JSON.stringify(value).replace(/</g, '\\u003c')

const find = createRequire(import.meta.url)
/** Vega as it comes for browsers, from the packages' own folders. */
function library(name: string): string {
  const [start] =
    find.resolve
      .paths(name)
      ?.map((p) => join(p, name, 'package.json'))
      .filter((p) => existsSync(p)) ?? []
  return readFileSync(join(dirname(start), 'build', `${name}.min.js`), 'utf8')
}

/** A file beside this one's source, which the package ships. */
const beside = (name: string): string =>
  readFileSync(new URL(`../../src/report/${name}`, import.meta.url), 'utf8')
/** The template with each {{name}} replaced by its part, once: what a part says is not looked into. */
const fill = (template: string, parts: Record<string, string>): string =>
  template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name])

/** The report as one file that needs nothing else: opens from disk, prints, works by keyboard and without colour. */
export function page(
  summary: Summary,
  charts: readonly Chart[],
  columns: readonly Column[],
  noise: readonly string[],
): string {
  return fill(beside('page.html'), {
    title: escaped(`${summary.rows.length} methods on ${summary.model}`),
    style: beside('page.css'),
    facts: escaped(facts(summary)),
    warning: warning(summary),
    picks: summary.picks.map(pick).join(''),
    noise: noise.length > 0 ? `<ul>${noise.map((n) => `<li>${escaped(n)}.</li>`).join('')}</ul>` : '',
    table: table(summary, columns),
    figures: charts.map(figure).join(''),
    answers: answers(summary),
    versions: `${escaped(versions(summary))}.`,
    config: escaped(JSON.stringify(summary.config, null, 2)),
    libraries: ['vega', 'vega-lite', 'vega-embed']
      .map((name) => `<script>${inline(library(name))}</script>`)
      .join('\n'),
    charts: json(charts.map(({ id, spec }) => ({ id, spec }))),
    script: beside('page.js'),
  })
}

function facts({ data, seeds, metric }: Summary): string {
  const { train, validation, test } = data
  const validated =
    typeof validation === 'string'
      ? `validated on ${validation}`
      : `${100 * validation} % of it held out for validation`
  const tested = test ? `, tested on ${test}` : ''
  return `Trained on ${train}, ${validated}${tested}. ${seeds.length} seeds; sorted by ${metric.name} (${metric.part}).`
}
const versions = ({ graft, runtime, node, machine }: Summary): string =>
  `Graft ${graft}, ONNX Runtime ${runtime}, Node ${node}; ${machine}`
const warning = ({ missing }: Summary): string =>
  missing > 0
    ? `<p class="warning">${missing} runs have no result yet: this report is of the others.</p>`
    : ''
const pick = ({ priority, label, why }: Summary['picks'][number]): string =>
  `<dt>${escaped(priority)}</dt><dd><strong>${escaped(label)}</strong>: ${escaped(why)}.</dd>`
const figure = ({ id, title, caption }: Chart): string => {
  const picture = `<div id="chart-${id}" role="img" aria-label="${escaped(`${title}. ${caption}`)}"></div>`
  const words = `<strong>${escaped(title)}.</strong> ${escaped(caption)}`
  return `<figure>${picture}<figcaption>${words}</figcaption></figure>`
}

/** Cells carry their numbers for sorting; the best of a column is marked by a star, not by colour alone. */
function table({ rows }: Summary, columns: readonly Column[]): string {
  const head = columns.map(({ title, help }) => heading(title, ` title="${escaped(help)}"`)).join('')
  const body = rows.map((row) => {
    const cells = columns.map((column) => cell(column, row, isBest(column, row, rows))).join('')
    const label = escaped(row.label)
    return `<tr><th scope="row" data-value="${label}">${label}${failure(row)}</th>${cells}</tr>`
  })
  const search = '<label>Show methods that contain <input id="filter" type="search"></label>'
  const count = `<span id="shown" role="status">${rows.length} of ${rows.length}</span>`
  return `<p class="filter">${search} ${count}</p>
${scrolled('all methods', '<table id="table">', `${heading('method')}${head}`, body.join(''))}`
}
const heading = (title: string, attribute = ''): string =>
  `<th scope="col" aria-sort="none"${attribute}><button type="button">${escaped(title)}</button></th>`
const cell = (column: Column, row: Row, best: boolean): string => {
  const [mark, star] = best ? [' class="best"', ' <abbr title="best">★</abbr>'] : ['', '']
  return `<td data-value="${column.value(row) ?? ''}"${mark}>${escaped(column.text(row))}${star}</td>`
}
const failure = ({ failures }: Row): string =>
  failures.length > 0 ? `<div class="failure">failed: ${escaped(failures.join(' '))}</div>` : ''
/** A table that scrolls inside its region, by keyboard too. */
const scrolled = (label: string, start: string, head: string, body: string): string =>
  `<div class="scroll" tabindex="0" role="region" aria-label="${label}">${start}` +
  `<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`

/** What each method said to the same examples. */
function answers({ runs, rows, seeds }: Summary): string {
  const told = rows
    .map((row) => ({
      label: row.label,
      shown: runs.find(
        (r) => r.label === row.label && r.learning_rate === row.learning_rate && r.seed === seeds[0],
      )?.answers?.shown,
    }))
    .filter((t) => t.shown)
  if (told.length === 0) return ''
  const first = told[0].shown ?? []
  const heads = ['example', 'expected', ...told.map(({ label }) => label)]
  const body = first.map(({ input, expected }, i) => {
    const said = told.map(({ shown = [] }) => marked(shown[i]?.answer, expected))
    return `<tr>${[escaped(input), escaped(expected), ...said].map((text) => `<td>${text}</td>`).join('')}</tr>`
  })
  const head = heads.map((text) => `<th scope="col">${escaped(text)}</th>`).join('')
  const title = '<h2 id="h-answers">Answers side by side</h2>'
  const note = `<p>Of seed ${seeds[0]}; ✓: exactly right.</p>`
  const all = scrolled('answers', '<table>', head, body.join(''))
  return `<section aria-labelledby="h-answers">${title}${note}${all}</section>`
}
const marked = (answer: string | undefined, expected: string): string =>
  `${escaped(answer ?? '')}${answer?.trim() === expected.trim() ? ' ✓' : ''}`
