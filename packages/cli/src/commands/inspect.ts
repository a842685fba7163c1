import { Command } from 'commander'
import { biasOf, Model, resolveModel, type Site } from '@graft/core'
import { defaultRegistry } from '../builtins.js'
import { type CommandMaker, examples } from '../command.js'
import { pulling } from '../progress.js'
import { printJson, printLine, printTable, thousands } from '../output.js'

export const inspectCommand: CommandMaker = () =>
  new Command('inspect')
    .description('show what a model is made of: inputs, outputs, and the modules that methods can target')
    .argument('<model>', 'ONNX file, or a folder that holds one')
    .option('--json', 'print everything as one JSON object')
    .addHelpText('after', examples('graft inspect model/onnx/model.onnx', 'graft inspect model --json | jq .sites'))
    .action(async (given: string, flags: { json?: boolean }) => {
      const path = await resolveModel(given, pulling())
      const model = Model.open(path, { architectures: defaultRegistry().all('architecture') })
      const value = ({ name, dtype, shape }: Model['logits']) => ({ name, dtype, shape })
      const report = {
        file: model.file,
        parameters: model.parameterCount,
        inputs: model.graph.inputs.map(value),
        outputs: model.graph.outputs.map(value),
        sites: model.sites.map(describe),
      }
      if (flags.json) return printJson(report)
      printLine(`${report.file}: ${thousands(report.parameters)} parameters, ${thousands(model.graph.nodes.size)} operators\n`)
      printTable(
        ['', 'name', 'type', 'shape'],
        [...report.inputs.map((v) => ['input', v.name, v.dtype, `[${v.shape}]`]), ...report.outputs.map((v) => ['output', v.name, v.dtype, `[${v.shape}]`])],
      )
      printLine()
      printTable(
        ['kind', 'module', 'weight', 'bias'],
        report.sites.map((s) => [s.kind, s.path, `[${s.weight}]`, s.bias ? `[${s.bias}]` : '']),
      )
    })

const describe = (site: Site) => ({ kind: site.kind, path: site.path, weight: site.weight.shape, bias: biasOf(site)?.shape ?? null })
