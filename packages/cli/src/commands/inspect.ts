import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import {
  biasOf,
  causalLm,
  type PeftMethod,
  sequenceClassification,
  type Site,
  type Model,
} from '@graft-peft/core'
import {
  type AdapterDescription,
  describeAdapter,
  type Registry,
  resolveModel,
  openModel,
} from '@graft-peft/core/app'
import { adapt, methodOptions } from '@graft-peft/core/inside'
import { pluginOption, registryWith } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { printJson, printLine, printTable, thousands } from '../output.js'
import { pulling } from '../progress.js'

export const inspectCommand: CommandMaker = () =>
  new Command('inspect')
    .description(
      "show what a model is made of: inputs, outputs, the modules that methods can target, and what each method's defaults would train",
    )
    .argument(
      '<model>',
      'Hugging Face folder, repository, ONNX or GGUF file, or a folder that holds one; or an adapter',
    )
    .option('--json', 'print everything as one JSON object')
    .addOption(pluginOption())
    .addHelpText(
      'after',
      examples(
        'graft inspect model',
        'graft inspect HuggingFaceTB/SmolLM2-135M',
        'graft inspect model --json | jq .sites',
        'graft inspect out/adapter',
      ),
    )
    .action(async (given: string, flags: { plugins?: string; json?: boolean }) => {
      const registry = await registryWith(flags.plugins)
      const path = await resolveModel(given, pulling())
      if (existsSync(join(path, 'adapter_config.json'))) return showAdapter(describeAdapter(path), flags.json)
      const model = openModel(path, {
        architectures: registry.all('architecture'),
      })
      const report = describeModel(model, registry)
      if (flags.json) return printJson(report)
      show(report, model)
    })

function showAdapter(adapter: AdapterDescription, json = false): void {
  if (json) return printJson(adapter)
  const { folder, peft_type, task_type, base, objective, labels, options, parameters, tensors } = adapter
  printLine(
    `${folder}: ${peft_type}${task_type ? `, ${task_type}` : ''}; ${thousands(parameters)} parameters in ${tensors.length} tensors`,
  )
  printLine(`base       ${base ?? 'not recorded'}`)
  if (objective) printLine(`objective  ${objective}`)
  if (labels.length > 0) printLine(`labels     ${labels.join(', ')}`)
  printLine()
  printTable(
    ['option', 'value'],
    Object.entries(options).map(([key, v]) => [key, JSON.stringify(v)]),
  )
  printLine()
  printTable(
    ['tensor', 'type', 'shape', 'norm'],
    tensors.map((t) => [t.name, t.dtype, `[${t.shape}]`, t.norm === null ? '' : t.norm.toPrecision(3)]),
    ['left', 'left', 'left', 'right'],
  )
}

function describeModel(model: Model, registry: Registry) {
  const value = ({ name, dtype, shape }: Model['logits']) => ({ name, dtype, shape })
  const type = model.config.model_type
  return {
    file: model.file,
    architecture:
      registry.all('architecture').find((a) => a.modelTypes.includes(String(type)))?.name ?? type ?? null,
    task: model.task ?? null,
    notices: model.notices,
    parameters: model.parameterCount,
    inputs: model.graph.inputs.map(value),
    outputs: model.graph.outputs.map(value),
    sites: model.sites.map(describe),
    methods: registry.all('method').map((method) => ({ name: method.name, ...trainedBy(method, model) })),
  }
}
const describe = (site: Site) => ({
  kind: site.kind,
  path: site.path,
  weight: site.weight.shape,
  bias: biasOf(site)?.shape ?? null,
})

/** How many parameters a method trains under its defaults, heads left out; or why it can't. */
function trainedBy(method: PeftMethod, model: Model): { trainable?: number; why?: string } {
  const objective = model.logitsShape.length === 3 ? causalLm : sequenceClassification
  try {
    const config = { ...methodOptions(method, {}), modules_to_save: [] }
    const labels = Number(model.logitsShape.at(-1))
    return {
      trainable: adapt(model, {
        method,
        methodOptions: config,
        objective,
        labels,
        expectedRows: 1,
        totalSteps: 100,
        training: false,
        prepared: undefined,
      }).variables.total,
    }
  } catch (error) {
    return { why: (error as Error).message.split('\n')[0] }
  }
}

function show(report: ReturnType<typeof describeModel>, model: Model): void {
  const what = [report.architecture, report.task].filter(Boolean).join(', ')
  printLine(
    `${report.file}: ${what ? `${what}; ` : ''}${thousands(report.parameters)} parameters, ${thousands(model.graph.nodes.size)} operators`,
  )
  for (const text of report.notices) printLine(text)
  printLine()
  printTable(
    ['', 'name', 'type', 'shape'],
    [
      ...report.inputs.map((v) => ['input', v.name, v.dtype, `[${v.shape}]`]),
      ...report.outputs.map((v) => ['output', v.name, v.dtype, `[${v.shape}]`]),
    ],
  )
  printLine()
  printTable(
    ['kind', 'module', 'weight', 'bias'],
    report.sites.map((s) => [s.kind, s.path, `[${s.weight}]`, s.bias ? `[${s.bias}]` : '']),
  )
  printLine()
  printTable(
    ['method', 'trains by default', 'of the model'],
    report.methods.map((m) => [
      m.name,
      m.trainable === undefined ? `– ${m.why?.slice(0, 90)}` : thousands(m.trainable),
      m.trainable === undefined ? '' : `${((100 * m.trainable) / report.parameters).toFixed(3)} %`,
    ]),
    ['left', 'right', 'right'],
  )
}
