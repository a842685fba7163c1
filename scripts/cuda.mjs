// Fetches ONNX Runtime's CUDA libraries, which a plain install leaves out (they are large, and only Linux with an NVIDIA GPU uses them).
import { spawnSync } from 'node:child_process'

const { status } = spawnSync(process.execPath, ['node_modules/onnxruntime-node/script/install.js'], {
  stdio: 'inherit',
  env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'true', ONNXRUNTIME_NODE_INSTALL_CUDA: 'v12' },
})
if (status !== 0)
  console.error(
    'The CUDA libraries could not be fetched; see the message above. Training on the CPU works without them.',
  )
process.exit(status ?? 1)
