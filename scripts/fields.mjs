// Every type of HF PEFT and every field of its config class (test/golden/config_fields.json): what each does here.
//   node scripts/fields.mjs [TYPE …]    a Markdown table, then the counts
import { readFileSync } from 'node:fs'
import { defaultRegistry } from 'graft-peft'

const file = new URL('../test/golden/config_fields.json', import.meta.url)
const { peft, every, classes } = JSON.parse(readFileSync(file, 'utf8'))
const methods = new Map(
  defaultRegistry()
    .all('method')
    .map((m) => [m.peftType, m]),
)

/** used; one value alone; refused: each but the first with its reason. Absent where nobody says anything. */
export function meaning(method, field) {
  const { properties, refused } = method.configSchema
  if (refused[field]) return ['refused', refused[field]]
  const option = properties[field]
  if (!option) return ['absent', '']
  return 'const' in option ? ['one value', option.why ?? ''] : ['used', '']
}
export const rows = Object.entries(classes).flatMap(([type, fields]) => {
  const method = methods.get(type)
  return Object.keys(fields).map((field) => {
    const [status, why] = method ? meaning(method, field) : ['absent', 'no method of this type']
    return { type, field, status, why }
  })
})

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const only = process.argv.slice(2)
  console.log('| type | field | here | why |\n| --- | --- | --- | --- |')
  for (const { type, field, status, why } of rows)
    if (only.length === 0 || only.includes(type)) console.log(`| ${type} | ${field} | ${status} | ${why} |`)
  const count = (status) => rows.filter((row) => row.status === status).length
  const built = Object.keys(classes).filter((type) => methods.has(type)).length
  const counts = ['used', 'one value', 'refused', 'absent'].map((status) => `${count(status)} ${status}`)
  console.log(
    `\nHF PEFT ${peft}: ${built} of ${Object.keys(classes).length} types; ${rows.length} fields: ${counts.join(', ')}. ` +
      `Beside them ${every.length} that every class has and a file records: ${every.join(', ')}.`,
  )
}
