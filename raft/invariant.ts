/**
 * A promise of the paper (figure 3) or of this package is broken: here, or by the shell that drives the core. Nobody catches it:
 * the process must stop, because going on could lose what was acknowledged.
 */
export class InvariantError extends Error {
  readonly code = 'invariant';
  readonly rule: string;
  readonly values: readonly number[];
  constructor(rule: string, values: readonly number[]) {
    super(`invariant broken: ${rule}${values.length === 0 ? '' : ` (${values.join(', ')})`}`);
    this.name = 'InvariantError';
    this.rule = rule;
    this.values = values;
  }
}

/** Crash unless `holds`. The numbers are told in the message. PERF: numbers as arguments, so that a promise kept allocates nothing. */
export function invariant(holds: boolean, rule: string, a?: number, b?: number, c?: number): asserts holds {
  if (!holds)
    throw new InvariantError(
      rule,
      [a, b, c].filter((value) => value !== undefined),
    );
}

/** Ends an exhaustive switch: a new variant does not compile until it is thought of. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable: ${JSON.stringify(value)}`, []);
}
