import { type MessagePort, workerData } from 'node:worker_threads'
import { Tokenizer } from 'tokenizers'
import type { Answer, Encoded, Placed, Question } from './native-tokenizer.js'

// Hugging Face's own tokenizers answer later; this thread waits for them, so that its caller gets an answer at once.
const { port, flag } = workerData as { port: MessagePort; flag: Int32Array }
const opened: Tokenizer[] = []

async function answer(question: Question): Promise<unknown> {
  if (question.kind === 'open') {
    const tokenizer = Tokenizer.fromString(question.json)
    // What a file says of cutting and filling up is for batches of its own maker.
    tokenizer.disableTruncation()
    tokenizer.disablePadding()
    return opened.push(tokenizer) - 1
  }
  const tokenizer = opened[question.tokenizer]
  if (question.kind === 'id') return tokenizer.tokenToId(question.token)
  if (question.kind === 'decode') return tokenizer.decode([...question.ids], question.skipSpecial)
  const { text, pair, special, most } = question
  if (most !== undefined) tokenizer.setTruncation(most)
  const encoding = await tokenizer.encode(text, pair ?? null, { addSpecialTokens: special })
  if (most !== undefined) tokenizer.disableTruncation()
  const tokens: Encoded = { ids: encoding.getIds(), types: encoding.getTypeIds() }
  if (!question.places) return tokens
  const placed: Placed = {
    ...tokens,
    special: encoding.getSpecialTokensMask(),
    offsets: encoding.getOffsets(),
  }
  return placed
}

port.on('message', (question: Question) => {
  void answer(question)
    .then(
      (value): Answer => ({ value }),
      (error: Error): Answer => ({ error: error.message }),
    )
    .then((result) => {
      port.postMessage(result)
      Atomics.store(flag, 0, 1)
      Atomics.notify(flag, 0)
    })
})
