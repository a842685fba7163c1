#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8'

// Young objects get 4 MB instead of 16 MB each way: compiling takes as long, and the process stays some 25 MB smaller.
setFlagsFromString('--semi-space-growth-factor=1')
const { main } = await import('../dist/main.js')
process.exitCode = await main(process.argv)
