import { describe, it } from 'node:test'
import { testMethod } from '@graft-peft/method-tester'
import scaleShift from '../src/scale-shift.js'

testMethod({ describe, it }, scaleShift, {
  valid: [
    { config: { target_modules: 'all-linear' } },
    { config: { target_modules: ['q_proj'] }, model: 'encoder' },
  ],
  invalid: [{ config: { rank: 8 }, error: /unknown key rank/ }],
})
