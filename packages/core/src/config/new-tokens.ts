import type { Continued } from '../adapter/continue.js'
import type { Registry } from '../container.js'
import { growth, refuseKnown, tokensBeyond } from '../data/added-tokens.js'
import { GraftError } from '../errors.js'
import type { PeftMethod } from '../method/method.js'
import type { ConfigSource } from './source.js'

/** What of a config new tokens depend on, and change. */
interface NewTokens {
  model: string
  tokens: readonly string[]
  adapter: Continued | null
  method: PeftMethod
  methodOptions: Record<string, unknown>
}

/**
 * New tokens are rows for the method to train, unless it goes on from an adapter, which has them.
 * @throws BAD_CONFIG, KNOWN_TOKEN.
 */
export function withNewRows(
  source: ConfigSource,
  { model, tokens, adapter, method, methodOptions }: NewTokens,
  registry: Registry,
): Pick<NewTokens, 'tokens' | 'methodOptions'> {
  if (adapter && tokens.length > 0)
    throw new GraftError(
      'BAD_CONFIG',
      `${source.position(['tokens'])} an adapter that training goes on from keeps the tokens it has; leave tokens out.`,
    )
  if (adapter) return { tokens: tokensBeyond(adapter.folder, model), methodOptions }
  if (tokens.length === 0) return { tokens, methodOptions }
  const learns = ({ configSchema }: PeftMethod) => rows in (configSchema as { properties: object }).properties
  if (!learns(method))
    throw new GraftError(
      'BAD_CONFIG',
      `${source.position(['tokens'])} method ${method.name} trains no rows of the embedding, so new tokens would stay as they start. Methods that do: ${registry
        .all('method')
        .filter(learns)
        .map((m) => m.name)
        .join(', ')}.`,
    )
  const given = methodOptions[rows]
  if (given)
    throw new GraftError(
      'BAD_CONFIG',
      `${source.position(['tokens'])} tokens gives the method its ${rows}: leave one of the two out.`,
    )
  const { ids } = growth(model, tokens)
  refuseKnown(model, tokens)
  return { tokens, methodOptions: { ...methodOptions, [rows]: ids } }
}
/** HF PEFT's option of methods that train rows beside what else they do */
const rows = 'trainable_token_indices'
