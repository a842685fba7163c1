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
