import {
  definePeftMethod,
  embeddingWidth,
  normal,
  oneOf,
  overwriteEmbeddings,
  positive,
  promptKey,
  promptRecord,
  promptSchema,
  only,
} from '@graft-peft/core'
import { initialiser, initTokens, type StartOptions, textOptions, tokenizerRecord } from './start.js'

export interface MultitaskOptions extends StartOptions {
  num_ranks: number
  num_tasks: number
}

/** One prompt for all tasks, times a low-rank matrix of each task's own (Wang et al., 2023, arXiv 2303.02861);
 *  options as HF PEFT's MultitaskPromptTuningConfig. */
export default definePeftMethod<MultitaskOptions>({
  name: 'multitask-prompt-tuning',
  apiVersion: 1,
  peftType: 'MULTITASK_PROMPT_TUNING',
  family: 'prompts',
  summary: 'one learned prompt, shaped by task',
  paper: 'https://arxiv.org/abs/2303.02861',
  learningRate: 3e-1,
  mergeable: false,
  startsAsIdentity: () => false,
  configSchema: promptSchema({
    // The others start from a file of source tasks.
    prompt_tuning_init: oneOf(['RANDOM', 'TEXT'], 'RANDOM'),
    ...textOptions,
    prompt_tuning_init_state_dict_path: only(
      null,
      'a run goes on from an adapter by its own key, adapter: FOLDER',
    ),
    prompt_tuning_init_task: { type: ['integer', 'null'], default: 0 },
    num_ranks: positive(1),
    num_tasks: positive(1),
  }),
  virtualTokens: ({ num_virtual_tokens }) => ({ count: num_virtual_tokens, predictive: true }),
  tasks: ({ num_tasks }) => num_tasks,
  prepare: initTokens,
  attach({ model, g, param, taskIds, prepared }, options) {
    const { num_virtual_tokens: count, num_ranks: rank, num_tasks } = options
    const width = embeddingWidth(model)
    const declare = (name: string, shape: number[], init = normal(0.02), key = name) =>
      param(`prompt_encoder.${name}`, { shape, init, key })
    const prompt = declare(
      'embedding.weight',
      [count, width],
      initialiser(model, options, prepared as number[] | undefined),
      promptKey,
    )
    const columns = declare('prefix_task_cols', [num_tasks, count, rank])
    const rows = declare('prefix_task_rows', [num_tasks, rank, width])
    const tasks = taskIds()
    const shape = g.matMul(g.gather(columns, tasks), g.gather(rows, tasks))
    const record = { ...promptRecord(model), ...tokenizerRecord(model, options) }
    overwriteEmbeddings(model, g.mul(prompt, shape))
    return { save: () => ({ finish: () => record }) }
  },
})
