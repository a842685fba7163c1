import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { isMainThread, type MessagePort, workerData } from 'node:worker_threads'
import { Tokenizer } from 'tokenizers'
import type { Answer, Encoded, Numbered, Placed, Question } from './native-tokenizer.js'

// Hugging Face's own tokenizers answer later; this thread waits for them, so that its caller gets an answer at once.
// The library ends its process where a regular expression tries too much: patterns that can do so run in a process of their own,
// which is this same file.
type Host = (question: Question) => Promise<unknown>
type Asked = Exclude<Question, { kind: 'open' }>
const opened: Host[] = []

async function answer(question: Question): Promise<unknown> {
  if (question.kind !== 'open') return opened[question.tokenizer]({ ...question, tokenizer: 0 })
  const host = inTurn(question.apart ? apart() : here(question.json))
  if (question.apart) await host({ ...question, apart: false })
  return opened.push(host) - 1
}

/** One question after another: one that was given up may still be under way when the next comes, and must not be answered in its place. */
function inTurn(host: Host): Host {
  let before: Promise<unknown> = Promise.resolve()
  return (question) => {
    const answer = before.then(() => host(question))
    before = answer.catch(() => undefined)
    return answer
  }
}

function here(json: string): Host {
  const tokenizer = Tokenizer.fromString(json)
  // What a file says of cutting and filling up is for batches of its own maker.
  tokenizer.disableTruncation()
  tokenizer.disablePadding()
  return (question) => answerOf(tokenizer, question as Asked)
}

async function answerOf(tokenizer: Tokenizer, question: Asked): Promise<unknown> {
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

/** A process that holds one tokenizer; after its end every question is refused. */
function apart(): Host {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
  const ended = new Promise<never>((_, fail) => {
    child.once('exit', () =>
      fail(
        new Error('one of its regular expressions tried too many ways to match this text, or one before.'),
      ),
    )
  })
  ended.catch(() => undefined)
  return (question) => Promise.race([asked(child, question), ended])
}
const asked = (child: ChildProcess, question: Question): Promise<unknown> =>
  new Promise((done, fail) => {
    child.once('message', (said: Answer) =>
      'error' in said ? fail(new Error(said.error)) : done(said.value),
    )
    child.send(question, (unsent) => unsent && fail(unsent))
  })

const answered = (question: Question): Promise<Answer> =>
  answer(question).then(
    (value) => ({ value }),
    (error: Error) => ({ error: error.message }),
  )

if (isMainThread) {
  process.on('message', async (question: Question) => process.send?.(await answered(question)))
} else {
  const { port, flag } = workerData as { port: MessagePort; flag: Int32Array }
  port.on('message', async ({ number, said }: Numbered<Question>) => {
    port.postMessage({ number, said: await answered(said) } satisfies Numbered<Answer>)
    Atomics.store(flag, 0, number)
    Atomics.notify(flag, 0)
  })
}
