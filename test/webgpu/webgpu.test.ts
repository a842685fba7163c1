import { execFileSync } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { floatsOf } from '@graft-peft/core'
import { readSafetensors } from '@graft-peft/core/inside'
import { defaultRegistry } from 'graft-peft'
import { describe, expect, it } from 'vitest'
import { graft, root, sprout, temporaryFolder, writeRun } from '../fixture.js'

/** The environment in which WebGPU finds a Vulkan, in software; undefined where that can't be had. */
function softwareVulkan(): Record<string, string> | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  try {
    const printed = execFileSync(process.execPath, [join(root, 'scripts/vulkan.mjs')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 150_000,
    })
    return Object.fromEntries(
      printed
        .trim()
        .split('\n')
        .map((line) => line.split('=', 2) as [string, string]),
    )
  } catch {
    return undefined
  }
}
const env = softwareVulkan()
if (!env)
  console.warn('SKIPPED: no Vulkan in software can be fetched here (npm run vulkan); WebGPU is not checked.')

describe.skipIf(!env)('WebGPU, on a Vulkan in software', () => {
  it('is found by the doctor', async () => {
    const { stdout } = await graft(['doctor', '--json'], { env })
    expect(JSON.parse(stdout).devices.webgpu).toBe('works')
  })

  it.each([
    ['llama', 'adalora-equal'],
    ['llama', 'lora-embedding'],
    ['llama', 'boft'],
    ['llama', 'shira'],
    ['llama', 'trainable-tokens'],
    ['bert', 'dora-all-linear'],
    ['bert', 'lora-bias'],
    ['vit', 'lora-convolution'],
  ])('%s, %s: what HF PEFT computes', async (model, name) => {
    const { code, stdout } = await graft(
      ['verify', join(root, 'test/golden', model), '--case', name, '--device', 'webgpu', '--json'],
      { env },
    )
    const reports = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(reports.length).toBeGreaterThan(0)
    for (const report of reports) expect(report, JSON.stringify(report)).toMatchObject({ status: 'passed' })
    expect(code).toBe(0)
  })

  it('trains as the CPU does, stopped and resumed, its state in GPU buffers', async () => {
    const data = Array.from({ length: 12 }, (_, i) =>
      JSON.stringify({ prompt: 'count '.repeat(1 + (i % 3)), completion: 'one two' }),
    )
    const settings = {
      method: { name: 'lora', r: 2, lora_dropout: 0.1, target_modules: ['q_proj', 'v_proj'] },
      training: { max_steps: 6, save_every: 2, batch_size: 2, gradient_accumulation: 2 },
    }
    const trained = async (
      device: string,
      killed = false,
    ): Promise<{ losses: number[]; adapter: Float32Array }> => {
      const folder = temporaryFolder()
      const config = writeRun(folder, { ...settings, device }, data)
      if (killed)
        await graft(['train', config, '--json'], {
          env,
          onOutput: (text, child) => text.includes('"step":3,') && child.kill('SIGKILL'),
        })
      const { code, stderr } = await graft(['train', config, ...(killed ? ['--resume'] : [])], { env })
      expect(code, stderr).toBe(0)
      const lines = readFileSync(join(folder, 'out/log.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      const { tensors } = readSafetensors(join(folder, 'out/adapter/adapter_model.safetensors'))
      return {
        losses: lines.filter((l) => l.gradient_norm !== undefined).map((l) => l.loss),
        adapter: Float32Array.from([...tensors].flatMap(([key, t]) => [...floatsOf(t, key)])),
      }
    }
    const [cpu, gpu, resumed] = [await trained('cpu'), await trained('webgpu'), await trained('webgpu', true)]
    expect(cpu.losses).toHaveLength(6)
    gpu.losses.forEach((loss, i) => expect(loss).toBeCloseTo(cpu.losses[i], 3))
    const distance = (a: Float32Array, b: Float32Array) =>
      Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / b.reduce((sum, v) => sum + v * v, 0))
    expect(distance(gpu.adapter, cpu.adapter)).toBeLessThan(1e-2)
    expect(Buffer.from(resumed.adapter.buffer).equals(Buffer.from(gpu.adapter.buffer))).toBe(true)
  })

  it('leaves nothing but sizes to the CPU, whatever the method', () => {
    const methods = defaultRegistry()
      .all('method')
      .map((m) => m.name)
      // LLaMA has no biases, and X-LoRA mixes adapters that were trained before.
      .filter((name) => !['bitfit', 'xlora'].includes(name))
    // Into a file, where what two writers say stays in order.
    const file = join(temporaryFolder(), 'placement.log')
    execFileSync(process.execPath, [join(root, 'test/webgpu/placement.mjs'), sprout, ...methods], {
      env: { ...process.env, ...env },
      cwd: root,
      stdio: ['ignore', 'ignore', openSync(file, 'w')],
    })
    const parts = readFileSync(file, 'utf8').split(/^== /m).slice(1)
    expect(parts).toHaveLength(2 * methods.length)
    for (const part of parts) {
      const [head, ...lines] = part.split('\n')
      const name = head.slice(0, head.indexOf(' ['))
      const allowed = new Set(JSON.parse(head.slice(head.indexOf('['))))
      const { onCpu, onGpu } = placed(lines)
      expect(onGpu, name).toBeGreaterThan(300)
      // AdaLoRA's TopK is told by the host how many to cut.
      const stray = onCpu.filter((n) => !allowed.has(n.node) && !/^(Max|Identity)$/.test(n.op))
      expect(stray, name).toEqual([])
    }
  })
})

/** Reads ONNX Runtime's account of where each node goes. */
function placed(lines: readonly string[]): { onCpu: { op: string; node: string }[]; onGpu: number } {
  let where = ''
  const found = { onCpu: [] as { op: string; node: string }[], onGpu: 0 }
  for (const line of lines) {
    where = line.match(/Node\(s\) placed on \[(\w+)\]/)?.[1] ?? where
    const node = line.match(/VerifyEachNodeIsAssignedToAnEp\]\s+(\S+) \((.*)\)/)
    if (!node) continue
    if (where === 'CPUExecutionProvider') found.onCpu.push({ op: node[1], node: node[2] })
    else found.onGpu++
  }
  return found
}
