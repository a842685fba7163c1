import { copyFileSync, cpSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '@graft-peft/onnx'
import { withTokens } from '../data/tokenizer-file.js'
import { makeFolder } from '../files/folders.js'
import { readObject } from '../files/json.js'
import type { Model } from '../model/model.js'

/** Files of a model's folder that go with its weights. */
const besides = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  'preprocessor_config.json',
  'chat_template.jinja',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'tokenizer.model',
  'spiece.model',
  'added_tokens.json',
  'modules.json',
  'config_sentence_transformers.json',
  'sentence_bert_config.json',
]
/** Folders of sentence-transformers' modules: 1_Pooling, 2_Dense. */
const moduleFolder = /^\d+_[A-Z]\w*$/
/** Copies them; a tokenizer with tokens added is written with them. */
export function copyBesides(model: Model, output: string): void {
  const { folder } = model
  makeFolder(output)
  for (const name of besides)
    if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(output, name))
  if (existsSync(join(folder, 'modules.json')))
    for (const name of readdirSync(folder).filter((n) => moduleFolder.test(n)))
      cpSync(join(folder, name), join(output, name), { recursive: true })
  if (model.addedTokens.length > 0) writeTokenizer(model, output)
}

/** A model's tokenizer.json with the tokens that were added to it. */
function writeTokenizer({ folder, addedTokens }: Model, output: string): void {
  const path = join(folder, 'tokenizer.json')
  const grown = withTokens(readObject(path, 'BAD_TOKENIZER'), addedTokens, path)
  writeAtomically(join(output, 'tokenizer.json'), `${JSON.stringify(grown, null, 2)}\n`)
}
/** Writes what a tokenizer needs beside an adapter that brings tokens. */
export function saveTokenizer(model: Model, output: string): void {
  for (const name of besides.filter((n) => /token|vocab|merges|chat_template|spiece/.test(n)))
    if (existsSync(join(model.folder, name))) copyFileSync(join(model.folder, name), join(output, name))
  writeTokenizer(model, output)
}
