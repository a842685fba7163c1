/** An error with a stable code, where it happened and what to do, as every error of Graft has. */
export class GraftError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'GraftError'
  }
}
