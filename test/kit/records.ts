/** Records that objectives are tested on. */
export const texts = ['good day', 'a bad idea', 'neither of these']
export const classes = ['up', 'down', 'level']
export const labelled = texts.map((text, i) => ({ text, label: classes[i] }))
export const written = texts.map((text) => ({ text }))
export const answered = texts.map((text, i) => ({ prompt: text, completion: classes[i] }))
export const pictures = classes.map((label, i) => ({
  pixel_values: Array.from({ length: 48 }, (_, k) => Math.sin((k + 1) * (i + 1))),
  label,
}))
