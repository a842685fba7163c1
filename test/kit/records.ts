/** Records that objectives are tested on. */
export const texts = ['good day', 'a bad idea', 'neither of these']
export const classes = ['up', 'down', 'level']
export const labelled = texts.map((text, i) => ({ text, label: classes[i] }))
export const written = texts.map((text) => ({ text }))
