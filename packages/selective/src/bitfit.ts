import { biasOf, definePeftMethod, GraftError, optionSchema, trainParameter } from '@graft-peft/core'

/** Trains the biases alone (Ben Zaken et al., 2021, arXiv 2106.10199); HF PEFT has it as LoRA's option bias: all, without LoRA. */
export default definePeftMethod({
  name: 'bitfit',
  apiVersion: 1,
  peftType: 'BITFIT',
  family: 'selective',
  summary: 'trains biases alone',
  paper: 'https://arxiv.org/abs/2106.10199',
  learningRate: 1e-2,
  mergeable: true,
  startsAsIdentity: () => true,
  configSchema: optionSchema({}),
  attach({ model, param }) {
    const biased = model.sites.flatMap((site) => {
      const bias = biasOf(site)
      return bias ? [{ path: site.path, bias }] : []
    })
    if (biased.length === 0)
      throw new GraftError(
        'NO_BIASES',
        `${model.file}: none of its modules has a bias, so bitfit has nothing to train. Choose ln_tuning or lora.`,
      )
    for (const { path, bias } of biased) trainParameter(param, bias, `${path}.bias`)
    return { merge: () => [] }
  },
})
