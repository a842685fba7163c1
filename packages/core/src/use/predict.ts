import type { OpenedAdapter } from '../adapter/open.js'
import type { DataRecord } from '../data/records.js'
import type { SessionOptions } from '../runtime/session.js'
import { Classifier } from './classifier.js'
import type { Prediction } from './prediction.js'

/** How many records are looked at together, so that batches are of like length. */
const window = 256

/**
 * Predicts for a stream of records with an adapter, in order, a window at a time, or with `atOnce` each as it
 * comes.
 *
 * @throws what Classifier does.
 */
export async function* predict(
  opened: OpenedAdapter,
  records: AsyncIterable<DataRecord>,
  session: SessionOptions = {},
  { atOnce = false }: { atOnce?: boolean } = {},
): AsyncGenerator<{ record: DataRecord; prediction: Prediction }> {
  const classifier = await Classifier.open(opened, session)
  try {
    for await (const group of windows(records, atOnce ? 1 : window)) {
      const predictions = await classifier.predictRecords(group)
      for (const [i, record] of group.entries()) yield { record, prediction: predictions[i] }
    }
  } finally {
    await classifier.close()
  }
}

async function* windows(records: AsyncIterable<DataRecord>, size: number): AsyncGenerator<DataRecord[]> {
  let group: DataRecord[] = []
  for await (const record of records) {
    group.push(record)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
