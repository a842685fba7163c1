import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Coder, type Columns, type Model } from '@graft-peft/core'
import { Tokenizer } from '@graft-peft/core/inside'

const letters = 'abcdefghijklmnopqrstu'
/** A token for each letter, from 3 on; what is no letter is an a. */
const file = {
  version: '1.0',
  added_tokens: ['<pad>', '<s>', '</s>'].map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'Split', pattern: { Regex: '.' }, behavior: 'Isolated', invert: false },
  model: {
    type: 'WordLevel',
    vocab: Object.fromEntries([
      ['<pad>', 0],
      ['<s>', 1],
      ['</s>', 2],
      ...Array.from(letters, (c, i) => [c, i + 3]),
    ]),
    unk_token: 'a',
  },
}

let opened: Tokenizer | undefined
function tokenizer(): Tokenizer {
  if (opened) return opened
  const folder = mkdtempSync(join(tmpdir(), 'graft-toy-'))
  try {
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(file))
    opened = Tokenizer.open(folder, { pad_token_id: 0, eos_token_id: 2 })
    return opened
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Turns records into examples of the toy models. */
export class ToyCoder extends Coder {
  constructor(model: Model, labels: readonly string[], columns: Columns) {
    super(model, labels, { columns, max_length: 32, train_on_prompt: false })
  }
  override get tokenizer(): Tokenizer {
    return tokenizer()
  }
}
