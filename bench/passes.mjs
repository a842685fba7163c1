// Times what happens before the first step: reading a model, differentiating, writing the step. node bench/passes.mjs [model.onnx]
import { fileURLToPath } from 'node:url'
import { openModel } from '@graft-peft/core/app'
import { adapt, compileGradient, methodOptions } from '@graft-peft/core/inside'
import { encodeOnnx, readOnnx, simplify } from '@graft-peft/onnx'
import { defaultRegistry } from 'graft-peft'
import { bench, run } from 'mitata'

const file =
  process.argv[2] ??
  fileURLToPath(new URL('../examples/support-intents/model/onnx/model.onnx', import.meta.url))
const registry = defaultRegistry()
const method = registry.get('method', 'lora')
const options = {
  method,
  methodOptions: methodOptions(method, { target_modules: 'all-linear' }),
  objective: registry.get('objective', 'causal-lm'),
  labels: 0,
  expectedRows: 512,
  totalSteps: 1,
  training: true,
}
const model = openModel(file)
const compiled = compileGradient(adapt(model, options))

bench('read', () => readOnnx(file))
bench('read and simplify', () => simplify(readOnnx(file)))
bench('open (with anatomy)', () => openModel(file))
bench('fork', () => model.fork())
bench('adapt and differentiate', () => compileGradient(adapt(model, options)))
bench('encode', () => encodeOnnx(compiled))
await run()
