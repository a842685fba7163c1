import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { batchOf, modelFeeds } from '@graft-peft/core/inside'
import { readOnnx } from '@graft-peft/onnx'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../fixture.js'
import { floats, info, model, node, nodes, type Proto } from './proto.js'

describe('hostile graphs are refused by name', () => {
  const attribute = (name: string, fields: Proto) => [{ name, ...fields }]
  const external = (entries: Record<string, string>) => ({
    name: 'w',
    dims: [16n, 16n],
    dataType: 1,
    dataLocation: 1,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
  })
  it.each([
    [
      'an attribute of another type',
      { node: [node('Transpose', ['table'], ['t'], attribute('perm', { type: 2, i: 1n })), ...nodes] },
      /perm is INT, expected INTS/,
    ],
    [
      'an axis beyond the rank',
      {
        node: [node('Transpose', ['table'], ['t'], attribute('perm', { type: 7, ints: [1n, 9n] })), ...nodes],
      },
      /Transpose.* an axis that is not there/,
    ],
    [
      'an operator named as what every object has',
      { node: [node('hasOwnProperty', ['table'], ['t']), ...nodes] },
      /there is no such operator/,
    ],
    [
      'weights that claim to be in the file itself',
      { initializer: [floats('table', [32, 16]), external({ location: '\u0000self', offset: '0' })] },
      /outside the model's folder/,
    ],
    [
      'weights that are a folder',
      { initializer: [floats('table', [32, 16]), external({ location: 'sub' })] },
      /sub: a folder, where a file is expected/,
    ],
    [
      'an entry of a shape that has none such',
      {
        node: [
          node('Shape', ['input_ids'], ['s']),
          node('Gather', ['s', 'five'], ['g'], attribute('axis', { type: 2, i: 0n })),
          ...nodes,
        ],
        initializer: [
          floats('table', [32, 16]),
          floats('w', [16, 16]),
          { name: 'five', dims: [1n], dataType: 7, int64Data: [5n] },
        ],
      },
      /Gather.* takes entry 5 of 2/,
    ],
    [
      'sizes joined that have different ranks, and counted',
      {
        node: [
          node('Concat', ['table', 'long'], ['joined'], attribute('axis', { type: 2, i: 1n })),
          node('Flatten', ['joined'], ['flat']),
          ...nodes,
        ],
        initializer: [floats('table', [32, 16]), floats('w', [16, 16]), floats('long', [32])],
      },
      /Concat.* joins tensors of different ranks/,
    ],
    [
      'fewer repeats than axes',
      {
        node: [node('Tile', ['table', 'once'], ['tiled']), ...nodes],
        initializer: [
          floats('table', [32, 16]),
          floats('w', [16, 16]),
          { name: 'once', dims: [1n], dataType: 7, int64Data: [1n] },
        ],
      },
      /Tile.* input 1 has 1 entries, expected 2/,
    ],
    ['a constant without a value', { node: [node('Constant', [], ['c']), ...nodes] }, /it has no value/],
    ['a node without inputs', { node: [node('Identity', [], ['i']), ...nodes] }, /input 0 is missing/],
    ['an output without a name', { output: [info('', 1, [1])] }, /output without a name/],
    [
      'an offset that is no number',
      { initializer: [floats('table', [32, 16]), external({ location: 'w.bin', offset: 'abc' })] },
      /offset "abc", which is no number of bytes/,
    ],
    [
      'a link out of the folder',
      { initializer: [floats('table', [32, 16]), external({ location: 'linked/w.bin' })] },
      /outside the model's folder/,
    ],
  ])('%s', (_, graph, says) => {
    const [folder, elsewhere] = [temporaryFolder(), temporaryFolder()]
    writeFileSync(join(folder, 'w.bin'), Buffer.alloc(1024))
    mkdirSync(join(folder, 'sub'))
    mkdirSync(join(elsewhere, 'secret'))
    writeFileSync(join(elsewhere, 'secret/w.bin'), Buffer.alloc(1024))
    symlinkSync(join(elsewhere, 'secret'), join(folder, 'linked'))
    expect(() => readOnnx(model({ folder, ...graph }))).toThrow(says)
  })

  it('images of a size that no memory holds', () => {
    const pixels = info('pixel_values', 1, ['batch', 3, 2 ** 20, 2 ** 20])
    const pooled = node('ReduceMean', ['pixel_values'], ['logits'], [{ name: 'keepdims', type: 2, i: 0n }])
    const { inputs } = readOnnx(model({ input: [pixels], output: [info('logits', 1, [])], node: [pooled] }))
    expect(() => modelFeeds(inputs, batchOf([{ ids: [] }]), 0)).toThrow(/wants images of \[3, 1048576/)
  })

  it('functions that call each other twice, thirty deep', () => {
    const functions = Array.from({ length: 30 }, (_, i) => ({
      name: `F${i}`,
      domain: 'f',
      input: ['x'],
      output: ['y'],
      node: [0, 1].map((k) =>
        node(
          i === 29 ? 'Neg' : `F${i + 1}`,
          [k ? 't' : 'x'],
          [k ? 'y' : 't'],
          [],
          i === 29 ? {} : { domain: 'f' },
        ),
      ),
    }))
    const call = node('F0', ['table'], ['q'], [], { domain: 'f' })
    expect(() => readOnnx(model({ node: [call, ...nodes] }, { functions }))).toThrow(/more than 131072 nodes/)
  })
})
