import { Model, Writer, greedy } from '@graft/core'
import { defaultRegistry } from 'graft'
const m = Model.open(process.argv[2], { architectures: defaultRegistry().all('architecture'), task: 'causal-lm', cache: true })
const w = new Writer(m, { threads: 2 })
w.tokenizer.ends.clear()
w.tokenizer.decode = () => ''
const n = +process.argv[3],
  p = +process.argv[4]
for (let i = 0; i < 2; i++) {
  const t = performance.now()
  const it = w.write(
    Array.from({ length: p }, (_, k) => 3 + (k % 4000)),
    { ...greedy, maxTokens: n, stop: [] },
  )
  let r
  do r = await it.next()
  while (!r.done)
  const d = (performance.now() - t) / 1000
  console.log('graft', n, 'tokens', d.toFixed(2), 's', (n / d).toFixed(1), '/s', JSON.stringify(r.value.seconds))
}
await w.close()
