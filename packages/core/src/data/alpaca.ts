const task = 'Below is an instruction that describes a task'
const request = 'Write a response that appropriately completes the request.'

/** Stanford Alpaca's two prompts (tatsu-lab/stanford_alpaca, Apache-2.0), which Alpaca-style models expect word for word. */
export const alpacaPrompt = (instruction: string, input: string): string =>
  input
    ? `${task}, paired with an input that provides further context. ${request}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`
    : `${task}. ${request}\n\n### Instruction:\n${instruction}\n\n### Response:\n`
