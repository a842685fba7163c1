import { checkGradient, gradientTolerance } from '@graft-peft/method-tester'
import { gradientRules } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { cases, type Variant } from './gradient-cases.js'

const label = ({ inputs, attributes = {}, symbolic }: Variant): string =>
  `${inputs.map((i) => (i ? `[${i.shape}]` : 'none')).join(' ')} ${Object.keys(attributes).length > 0 ? JSON.stringify(attributes) : ''}${symbolic ? ' symbolic' : ''}`

describe('gradient rules agree with finite differences', () => {
  it('has cases for every rule', () => {
    expect(Object.keys(gradientRules).filter((op) => !cases[op])).toEqual([])
  })
  for (const [op, variants] of Object.entries(cases))
    for (const variant of variants.flatMap((v) => [v, { ...v, symbolic: true }]))
      it(`${op} ${label(variant)}`, async () => {
        const { error, dtype } = await checkGradient({ op, ...variant })
        expect(error).toBeLessThan(gradientTolerance[dtype])
      })
})
