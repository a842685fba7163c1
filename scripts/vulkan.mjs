// Fetches a Vulkan in software (SwiftShader, as packed for Chromium), so that WebGPU can be tried and tested where there is no GPU. Linux x64.
// Prints the environment that makes a process use it: env $(npm run --silent vulkan) graft train config.yaml device=webgpu
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'

const packed = '@sparticuz/chromium@147.0.0'
const folder = resolve(import.meta.dirname, '../node_modules/.cache/graft-vulkan')
if (!existsSync(folder)) fetchTo(folder)
console.log(`VK_ICD_FILENAMES=${join(folder, 'vk_swiftshader_icd.json')}`)
console.log(`LD_LIBRARY_PATH=${folder}`)

function fetchTo(target) {
  mkdirSync(join(target, '..'), { recursive: true })
  const work = mkdtempSync(`${target}-`)
  try {
    const archive = execFileSync('npm', ['pack', packed, '--silent', '--pack-destination', work], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
    }).trim()
    execFileSync('tar', ['xzf', archive, 'package/bin/swiftshader.tar.br'], { cwd: work })
    writeFileSync(
      join(work, 'swiftshader.tar'),
      brotliDecompressSync(readFileSync(join(work, 'package/bin/swiftshader.tar.br'))),
    )
    mkdirSync(join(work, 'vulkan'))
    execFileSync('tar', ['xf', join(work, 'swiftshader.tar'), '--no-same-owner'], {
      cwd: join(work, 'vulkan'),
    })
    renameSync(join(work, 'vulkan'), target)
  } catch (error) {
    console.error(`${packed} can't be fetched (${error.message.split('\n')[0]}): no software Vulkan here.`)
    process.exitCode = 1
    process.exit()
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
