import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    // Each file trains with as many threads as there are cores; files side by side would only fight for them.
    fileParallelism: false,
    pool: 'forks',
  },
})
