/** Names that a part of a template sees: its own, then those around it. */
export class Scope {
  private readonly names = new Map<string, unknown>()
  constructor(private readonly outer?: Scope) {}
  get(name: string): unknown {
    if (this.names.has(name)) return this.names.get(name)
    return this.outer?.get(name)
  }
  set(name: string, value: unknown): void {
    this.names.set(name, value)
  }
}
