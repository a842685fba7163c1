import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Summary } from '../table.js'
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

/** The report as one file that needs nothing else: opens from disk, prints, works by keyboard and without colour. */
export function page(
  summary: Summary,
  charts: readonly Chart[],
  columns: readonly Column[],
  noise: readonly string[],
): string {
  const libraries = ['vega', 'vega-lite', 'vega-embed']
    .map((name) => `<script>${inline(library(name))}</script>`)
    .join('\n')
  const title = `${summary.rows.length} methods on ${summary.model}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; font-src data:">
<title>${escaped(title)} — Graft</title>
<style>${style}</style>
</head>
<body>
<a class="skip" href="#table">to the table</a>
<header><h1>${escaped(title)}</h1><p>${escaped(facts(summary))}</p></header>
${summary.missing > 0 ? `<p class="warning">${summary.missing} runs have no result yet: this report is of the others.</p>` : ''}
<section aria-labelledby="h-picks"><h2 id="h-picks">What would I pick?</h2><dl>${summary.picks.map(({ priority, label, why }) => `<dt>${escaped(priority)}</dt><dd><strong>${escaped(label)}</strong>: ${escaped(why)}.</dd>`).join('')}</dl>
${noise.length > 0 ? `<ul>${noise.map((n) => `<li>${escaped(n)}.</li>`).join('')}</ul>` : ''}</section>
<section aria-labelledby="h-table"><h2 id="h-table">All methods</h2>${table(summary, columns)}</section>
<section aria-labelledby="h-charts"><h2 id="h-charts">Pictures</h2><div class="charts">${charts.map((c) => `<figure><div id="chart-${c.id}" role="img" aria-label="${escaped(`${c.title}. ${c.caption}`)}"></div><figcaption><strong>${escaped(c.title)}.</strong> ${escaped(c.caption)}</figcaption></figure>`).join('')}</div></section>
${answers(summary)}
<section aria-labelledby="h-config"><h2 id="h-config">Exact settings</h2><p>Graft ${escaped(summary.graft)}, ONNX Runtime ${escaped(summary.runtime)}, Node ${escaped(summary.node)}; ${escaped(summary.machine)}.</p><pre>${escaped(JSON.stringify(summary.config, null, 2))}</pre></section>
${libraries}
<script>const charts = ${json(charts.map(({ id, spec }) => ({ id, spec })))}
${script}</script>
</body>
</html>
`
}
const facts = ({ data, seeds, metric }: Summary): string =>
  `Trained on ${data.train}, ${typeof data.validation === 'string' ? `validated on ${data.validation}` : `${100 * data.validation} % of it held out for validation`}${data.test ? `, tested on ${data.test}` : ''}. ${seeds.length} seeds; sorted by ${metric.name} (${metric.part}).`

/** Cells carry their numbers for sorting; the best of a column is marked by a star, not by colour alone. */
function table({ rows }: Summary, columns: readonly Column[]): string {
  const head = [
    '<th scope="col" aria-sort="none"><button type="button">method</button></th>',
    ...columns.map(
      (c) =>
        `<th scope="col" aria-sort="none" title="${escaped(c.help)}"><button type="button">${escaped(c.title)}</button></th>`,
    ),
  ]
  const body = rows.map((row) => {
    const cells = columns.map(
      (c) =>
        `<td data-value="${c.value(row) ?? ''}"${isBest(c, row, rows) ? ' class="best"' : ''}>${escaped(c.text(row))}${isBest(c, row, rows) ? ' <abbr title="best">★</abbr>' : ''}</td>`,
    )
    const why =
      row.failures.length > 0 ? `<div class="failure">failed: ${escaped(row.failures.join(' '))}</div>` : ''
    return `<tr><th scope="row" data-value="${escaped(row.label)}">${escaped(row.label)}${why}</th>${cells.join('')}</tr>`
  })
  return `<p class="filter"><label>Show methods that contain <input id="filter" type="search"></label> <span id="shown" role="status">${rows.length} of ${rows.length}</span></p>
<div class="scroll" tabindex="0" role="region" aria-label="all methods"><table id="table"><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
}

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
  const row = (i: number) =>
    `<tr><td>${escaped(first[i].input)}</td><td>${escaped(first[i].expected)}</td>${told.map(({ shown = [] }) => `<td>${escaped(shown[i]?.answer ?? '')}${shown[i]?.answer.trim() === first[i].expected.trim() ? ' ✓' : ''}</td>`).join('')}</tr>`
  return `<section aria-labelledby="h-answers"><h2 id="h-answers">Answers side by side</h2><p>Of seed ${seeds[0]}; ✓: exactly right.</p><div class="scroll" tabindex="0" role="region" aria-label="answers"><table><thead><tr><th scope="col">example</th><th scope="col">expected</th>${told.map((t) => `<th scope="col">${escaped(t.label)}</th>`).join('')}</tr></thead><tbody>${first.map((_, i) => row(i)).join('')}</tbody></table></div></section>`
}

const style = `
:root { color-scheme: light dark; --ink: #111; --soft: #333; --paper: #fff; --line: #ccc; --code: #f4f4f4 }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #b8b8b8; --paper: #16181b; --line: #45484d; --code: #222529 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
.skip { position: absolute; left: -99rem } .skip:focus { left: 1rem }
dl { margin: 0 } dt { font-weight: normal; color: var(--soft) } dd { margin: 0 0 .5rem 1.5rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; white-space: nowrap }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
thead th { vertical-align: bottom; white-space: normal }
thead button { font: inherit; font-weight: bold; background: none; border: 0; padding: 0; cursor: pointer; text-align: inherit; color: inherit }
thead th[aria-sort=ascending] button::after { content: " ▲" } thead th[aria-sort=descending] button::after { content: " ▼" }
.best { font-weight: bold } abbr { text-decoration: none } .failure { font-weight: normal; max-width: 40rem; white-space: normal }
.warning { border-left: .3rem solid var(--ink); padding-left: .8rem }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { margin: 0; max-width: 100% } figure > div { background: #fff; border-radius: .3rem } figure svg { max-width: 100%; height: auto } figcaption { font-size: .85rem; max-width: 32rem }
pre { background: var(--code); padding: 1rem; overflow-x: auto; font-size: .8rem }
#h-answers ~ .scroll td { white-space: normal; text-align: left; max-width: 24rem } #h-answers ~ .scroll th { text-align: left }
@page { size: landscape; margin: 12mm }
@media print { :root { color-scheme: light } body { margin: 0; max-width: none; font-size: 11px } .scroll { overflow: visible } .filter, .skip { display: none } h2 { break-after: avoid }
 .charts { display: block } figure { display: inline-block; width: 48%; vertical-align: top; break-inside: avoid } pre { font-size: 7px; columns: 3; white-space: pre-wrap } table { font-size: 8px } th, td { padding: .15rem .25rem } }
`
const script = `
for (const { id, spec } of charts) vegaEmbed('#chart-' + id, spec, { renderer: 'svg', actions: false })
const table = document.getElementById('table')
const rows = () => [...table.tBodies[0].rows]
const value = (row, i) => { const v = row.cells[i].dataset.value; return v === '' || Number.isNaN(Number(v)) ? v : Number(v) }
const compare = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)))
for (const [i, th] of [...table.tHead.rows[0].cells].entries()) th.querySelector('button').addEventListener('click', () => {
  const down = th.getAttribute('aria-sort') === 'ascending'
  for (const other of table.tHead.rows[0].cells) other.setAttribute('aria-sort', 'none')
  th.setAttribute('aria-sort', down ? 'descending' : 'ascending')
  const empty = (row) => value(row, i) === ''
  table.tBodies[0].append(...rows().sort((a, b) => empty(a) - empty(b) || (down ? -1 : 1) * compare(value(a, i), value(b, i))))
})
document.getElementById('filter').addEventListener('input', ({ target }) => {
  const wanted = target.value.trim().toLowerCase()
  for (const row of rows()) row.hidden = !row.cells[0].dataset.value.toLowerCase().includes(wanted)
  document.getElementById('shown').textContent = rows().filter((r) => !r.hidden).length + ' of ' + rows().length
})
`
