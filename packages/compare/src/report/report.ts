import { join } from 'node:path'
import { writeAtomically } from '@graft-peft/core'
import type { Summary } from '../table.js'
import { charts } from './charts.js'
import { columnsOf, findings } from './columns.js'
import { csv, markdown } from './markdown.js'
import { page } from './page.js'
import { svg } from './svg.js'
import { makeFolder } from '@graft-peft/core/inside'

/** Writes report.html, report.json, report.md with its pictures in charts/, and table.csv. Returns the page's path. */
export async function writeReport(summary: Summary, folder: string): Promise<string> {
  const [drawn, columns, noise] = [charts(summary), columnsOf(summary), findings(summary)]
  makeFolder(join(folder, 'charts'))
  for (const chart of drawn) writeAtomically(join(folder, 'charts', `${chart.id}.svg`), await svg(chart))
  writeAtomically(join(folder, 'report.json'), `${JSON.stringify(summary, null, 2)}\n`)
  writeAtomically(join(folder, 'report.md'), markdown(summary, drawn, columns, noise))
  writeAtomically(join(folder, 'table.csv'), csv(summary, columns))
  const file = join(folder, 'report.html')
  writeAtomically(file, page(summary, drawn, columns, noise))
  return file
}
