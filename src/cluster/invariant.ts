/** A promise of this folder was broken: the state can no longer be trusted, so the process must end. Nobody catches it. */
export class InvariantError extends Error {
  readonly code = 'invariant';
  constructor(rule: string, facts: readonly unknown[]) {
    super(facts.length === 0 ? rule : `${rule} (${facts.map(String).join(', ')})`);
    this.name = 'InvariantError';
  }
}

/** `rule` is the promise, in words; `facts` are the numbers and names that broke it. */
export function invariant(condition: boolean, rule: string, ...facts: readonly unknown[]): asserts condition {
  if (!condition) throw new InvariantError(rule, facts);
}

/** The end of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new InvariantError('every variant has a branch', [JSON.stringify(value)]);
}
