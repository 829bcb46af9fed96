/** A promise that did not hold. `checker` names it, `atMs` is virtual time. */
export class SimFailure extends Error {
  readonly checker: string;
  atMs = 0;
  constructor(checker: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SimFailure';
    this.checker = checker;
  }
}

export function fail(checker: string, message: string): never {
  throw new SimFailure(checker, message);
}
