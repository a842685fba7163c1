import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromAdapterHub, toAdapterHub } from '@graft-peft/adapters'
import { openModel } from '@graft-peft/core/app'
import { readSafetensors } from '@graft-peft/core/inside'
import { describe, expect, it } from 'vitest'
import { root, temporaryFolder } from '../fixture.js'

const numbers = (path: string) =>
  new Map([...readSafetensors(path).tensors].map(([k, t]) => [k, Buffer.from(t.data).toString('hex')]))

describe.each(['bert', 'llama'])('bottleneck adapters of AdapterHub’s on %s', (arch) => {
  const golden = join(root, 'test/golden', arch)
  const model = openModel(join(golden, 'onnx/model.onnx'))
  it.each(['bottleneck-houlsby', 'bottleneck-parallel'])('%s: read, and written again', (name) => {
    const [ours, hub] = [temporaryFolder(), temporaryFolder()]
    fromAdapterHub(join(golden, name, 'hub'), ours, model)
    const own = numbers(join(ours, 'adapter_model.safetensors'))
    const start = numbers(join(golden, name, 'start/adapter_model.safetensors'))
    for (const key of own.keys()) expect(start.get(key), key).toBe(own.get(key))
    expect(own.size).toBe([...start.keys()].filter((k) => !k.includes('classifier')).length)
    toAdapterHub(ours, hub, model, 'golden')
    expect(numbers(join(hub, 'adapter.safetensors'))).toEqual(
      numbers(join(golden, name, 'hub/adapter.safetensors')),
    )
    const config = (folder: string) =>
      JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')).config
    expect(config(join(golden, name, 'hub'))).toMatchObject(config(hub))
  })
})
