// Fetches a Vulkan in software (SwiftShader, as packed for Chromium), so that WebGPU can be tried and tested where there is no GPU. Linux x64.
// Prints the environment that makes a process use it: env $(npm run --silent vulkan) graft train config.yaml device=webgpu
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import { packed } from './packed.mjs'

const spec = '@sparticuz/chromium@147.0.0'
const archive = 'bin/swiftshader.tar'
try {
  const folder = packed(spec, [`${archive}.br`], 'graft-vulkan', unpack)
  console.log(`VK_ICD_FILENAMES=${join(folder, 'vk_swiftshader_icd.json')}`)
  console.log(`LD_LIBRARY_PATH=${folder}`)
} catch (error) {
  console.error(`${spec} can't be fetched (${error.message.split('\n')[0]}): no software Vulkan here.`)
  process.exitCode = 1
}

function unpack(from, to) {
  const tar = join(from, archive)
  writeFileSync(tar, brotliDecompressSync(readFileSync(`${tar}.br`)))
  execFileSync('tar', ['xf', tar, '--no-same-owner'], { cwd: to })
}
