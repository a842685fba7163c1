// Opens the step of each method on WebGPU with ONNX Runtime telling where it puts each node. Before each, a line "== name" with the names of
// the nodes that may be on the CPU: those that make sizes and positions, and hand them over.
import { openModel } from '@graft-peft/core/app'
import { adamw, adapt, compileEvaluation, compileStep, methodOptions } from '@graft-peft/core/inside'
import { encodeOnnx, lowerForWebgpu } from '@graft-peft/onnx'
import { defaultRegistry } from 'graft-peft'
import { InferenceSession } from 'onnxruntime-node'

const [path, ...wanted] = process.argv.slice(2)
const registry = defaultRegistry()
const options = {
  lora: { lora_dropout: 0.1, target_modules: 'all-linear' },
  adalora: { tinit: 2, tfinal: 2, deltaT: 2 },
  trainable_tokens: { token_indices: [1, 2] },
  c3a: { block_size: 32 },
  vblora: { vector_length: 64 },
}
const optimizer = adamw({ name: 'adamw', betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0, momentum: 0 })

for (const name of wanted)
  for (const training of [true, false]) {
    const method = registry.get('method', name)
    const chosen = methodOptions(method, options[name] ?? {})
    const adapted = adapt(openModel(path), {
      method,
      methodOptions: chosen,
      objective: registry.get('objective', 'causal-lm'),
      labels: 0,
      expectedRows: 64,
      totalSteps: 10,
      training,
    })
    const graph = lowerForWebgpu(
      training ? compileStep(adapted, { optimizer, clip: 1, accumulate: true }) : compileEvaluation(adapted),
    )
    const ofSizes = (n) =>
      n.outputs.every((v) => v?.dtype === 'int64') || (n.op === 'Cast' && n.inputs[0].dtype === 'int64')
    console.error(
      `== ${name}${training ? '' : ', evaluation'} ${JSON.stringify([...graph.nodes].filter(ofSizes).map((n) => n.name))}`,
    )
    const session = await InferenceSession.create(encodeOnnx(graph), {
      executionProviders: ['webgpu'],
      graphOptimizationLevel: 'disabled',
      logSeverityLevel: 0,
      extra: { session: { disable_prepacking: '1', model_external_initializers_file_folder_path: '/' } },
    })
    await session.release()
  }
