/// <reference lib="dom" />
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { found, graft, temporaryFolder, writeComparison } from '../fixture.js'

const executable =
  found('chromium', 'the report in a browser') ?? found('google-chrome', 'the report in a browser')

describe.skipIf(!executable)('report.html in Chromium', () => {
  let browser: Browser
  let page: Page
  let file: string
  const errors: string[] = []
  const requests: string[] = []
  beforeAll(async () => {
    const folder = temporaryFolder()
    const methods = [
      'ia3',
      { name: 'lora', r: 2, target_modules: ['q_proj'], label: '</script><b>odd' },
      { name: 'adalora', tinit: 2, tfinal: 4, deltaT: 2, target_modules: ['q_proj', 'v_proj'] },
    ]
    const { stderr } = await graft([
      'compare',
      writeComparison(folder, { methods, seeds: 2, exclude: ['base'] }),
    ])
    file = join(folder, 'out/report.html')
    expect(existsSync(file), stderr).toBe(true)
    browser = await chromium.launch({ executablePath: executable, args: ['--no-sandbox'] })
    page = await browser.newPage()
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    page.on('pageerror', (error) => errors.push(String(error)))
    page.on('request', (request) => requests.push(request.url()))
    await page.goto(pathToFileURL(file).href)
    await page.waitForSelector('#chart-loss svg')
  })
  afterAll(() => browser?.close())

  const labels = () =>
    page.$$eval('#table tbody tr:not([hidden]) th', (cells) =>
      cells.map((c) => (c as HTMLElement).dataset.value),
    )

  it('draws every chart and asks nobody for anything', async () => {
    const drawn = await page.$$eval('figure svg', (all) => all.length)
    expect(drawn).toBe(await page.$$eval('figure', (all) => all.length))
    expect(await page.$('#chart-ranks-adalora svg')).not.toBeNull()
    expect(requests.filter((url) => !url.startsWith('file:') && !url.startsWith('data:'))).toEqual([])
    expect(requests.filter((url) => url.startsWith('file:'))).toHaveLength(1)
    expect(errors).toEqual([])
  })
  it('sorts by a column, both ways, by keyboard too', async () => {
    const column = page.getByRole('button', { name: 'trained parameters' })
    const values = () =>
      page.$$eval('#table tbody tr', (rows) =>
        rows.map((r) => Number((r as HTMLTableRowElement).cells[2].dataset.value || Number.NaN)),
      )
    const index = await column.evaluate((button) => (button.parentElement as HTMLTableCellElement).cellIndex)
    const sorted = async () =>
      page.$$eval(
        '#table tbody tr',
        (rows, i) => rows.map((r) => Number((r as HTMLTableRowElement).cells[i].dataset.value)),
        index,
      )
    await column.click()
    const up = await sorted()
    expect(up).toEqual([...up].sort((a, b) => a - b))
    await column.focus()
    await page.keyboard.press('Enter')
    expect(await sorted()).toEqual([...up].reverse())
    expect(await column.evaluate((button) => button.parentElement?.getAttribute('aria-sort'))).toBe(
      'descending',
    )
    expect(await values()).toHaveLength(4)
  })
  it('filters by name', async () => {
    await page.fill('#filter', 'ada')
    expect(await labels()).toEqual(['adalora'])
    expect(await page.textContent('#shown')).toBe('1 of 4')
    await page.fill('#filter', '')
    expect(await labels()).toHaveLength(4)
  })
  it('shows odd names as text', async () => {
    expect(await labels()).toContain('</script><b>odd')
    expect(await page.$('#table b')).toBeNull()
  })
  it('is one file that names no other', () => {
    const text = readFileSync(file, 'utf8').replace(/<script>[\s\S]*?<\/script>/g, '')
    expect(text).not.toMatch(/(src|href)="(?!#)/)
  })
})
