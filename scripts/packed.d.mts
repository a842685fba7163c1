export function packed(
  spec: string,
  files: readonly string[],
  name: string,
  prepare?: (from: string, to: string) => void,
): string
