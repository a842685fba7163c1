import { type PeftMethod } from '@graft-peft/core'
import { type CaseReport, Registry, verify } from '@graft-peft/core/app'
import { validate } from '@graft-peft/core/inside'
import { Bench } from './harness.js'
import { applying, type InvalidCase, type MethodCases } from './cases.js'
import { checks } from './checks.js'
import { wholeChecks } from './option-checks.js'
import { toyDecoder } from './toys.js'

/** Any test framework's describe and it: vitest, node:test, jest, mocha. */
export interface Framework {
  describe(name: string, body: () => void): unknown
  it(name: string, body: () => Promise<void>): unknown
}
export interface TestCases extends MethodCases {
  /** folders of HF PEFT's results (docs/verify.md), where the method exists there */
  reference?: readonly string[]
}
export interface Failure {
  check: string
  config: Record<string, unknown>
  message: string
}

/** Declares the conformance tests of a method: what every method must do, on toy models made in code. */
export function testMethod({ describe, it }: Framework, method: PeftMethod, cases: TestCases): void {
  describe(`method ${method.name}`, () => {
    it('no case is there twice', async () => refuseDuplicates(cases))
    for (const check of wholeChecks) it(check.name, () => check.run(method, cases))
    for (const test of cases.valid)
      describe(`${test.model ?? 'decoder'} ${JSON.stringify(test.config)}`, () => {
        for (const check of applying(checks, test)) it(check.name, () => check.run(method, test))
      })
    for (const test of cases.invalid ?? [])
      it(`refuses ${JSON.stringify(test.config)}`, () => refuses(method, test))
    for (const folder of cases.reference ?? [])
      it(`equals HF PEFT in ${folder}`, () => reproduces(method, folder))
  })
}

/** The same without a framework: everything that is wrong with a method. */
export async function checkMethod(method: PeftMethod, cases: MethodCases): Promise<Failure[]> {
  const failures: Failure[] = []
  const attempt = async (check: string, config: Record<string, unknown>, run: () => Promise<void>) => {
    try {
      await run()
    } catch (error) {
      failures.push({ check, config, message: (error as Error).message })
    }
  }
  await attempt('no case is there twice', {}, async () => refuseDuplicates(cases))
  for (const check of wholeChecks) await attempt(check.name, {}, () => check.run(method, cases))
  for (const test of cases.valid)
    for (const check of applying(checks, test))
      await attempt(check.name, test.config, () => check.run(method, test))
  for (const test of cases.invalid ?? [])
    await attempt('refuses bad options', test.config, () => refuses(method, test))
  return failures
}

function refuseDuplicates({ valid, invalid = [] }: MethodCases): void {
  const seen = new Set<string>()
  for (const test of [...valid, ...invalid]) {
    const key = JSON.stringify([test.config, 'model' in test ? test.model : undefined])
    if (seen.has(key))
      throw new Error(`the case ${JSON.stringify(test.config)} is there twice: one of them tests nothing.`)
    seen.add(key)
  }
  if (valid.length === 0) throw new Error('there is no valid case, so nothing is tested.')
}

async function refuses(method: PeftMethod, { config, error }: InvalidCase): Promise<void> {
  const result = validate(method.configSchema, config)
  let message =
    'complaints' in result ? result.complaints.map((c) => `${c.path.join('.')}: ${c.message}`).join('; ') : ''
  if (!message)
    try {
      const bench = await Bench.open(toyDecoder(), method, config)
      bench.adapt()
    } catch (thrown) {
      message = (thrown as Error).message
    }
  if (!message) throw new Error(`the config is accepted, but should be refused with ${error}.`)
  if (!error.test(message)) throw new Error(`refused with "${message}", expected ${error}.`)
}

async function reproduces(method: PeftMethod, folder: string): Promise<void> {
  const registry = new Registry().register('method', method, { package: 'under test', version: '' })
  const found: CaseReport[] = []
  for await (const report of verify(folder, registry)) if (report.status !== 'not built') found.push(report)
  const wrong = found.filter((r) => r.status === 'failed')
  if (found.length < 2) throw new Error(`${folder} holds no case of peft_type ${method.peftType}.`)
  if (wrong.length > 0)
    throw new Error(
      wrong
        .map(
          (r) =>
            `${r.export} ${r.case}: ${r.reason ?? r.checks.map((c) => `${c.name} ${c.difference.toExponential(1)}`).join(', ')}`,
        )
        .join('; '),
    )
}
