import { GraftError, type Objective } from '@graft-peft/core'
import { type Failure, type Framework } from './method.js'
import { type ObjectiveCases, openObjective } from './objective-bench.js'
import { objectiveChecks } from './objective-checks.js'

/** Declares the conformance tests of an objective, on toy models made in code. */
export function testObjective(
  { describe, it }: Framework,
  objective: Objective,
  cases: ObjectiveCases | readonly ObjectiveCases[],
): void {
  for (const one of [cases].flat() as ObjectiveCases[])
    describe(`objective ${objective.name} on the toy ${one.model ?? 'decoder'}`, () => {
      for (const check of objectiveChecks)
        it(check.name, async () => check.run(await openObjective(objective, one)))
    })
}

/** The same without a framework: everything that is wrong with an objective. */
export async function checkObjective(objective: Objective, cases: ObjectiveCases): Promise<Failure[]> {
  const failures: Failure[] = []
  for (const check of objectiveChecks)
    try {
      await check.run(await openObjective(objective, cases))
    } catch (error) {
      const code = error instanceof GraftError ? ` [${error.code}]` : ''
      failures.push({ check: check.name, config: {}, message: `${(error as Error).message}${code}` })
    }
  return failures
}
