import type { ProfileName } from '../sim/profiles.js';

/** A known bug, as the text that puts it back, and the checkers that must see it. */

/** `find` stands in `file` exactly once, or the mutant does not apply any more. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export type Checker = UnitChecker | ModelChecker | SimChecker;

/** One test, by the beginning of its name. `file`: only where the name is made at run time and cannot be found in the sources. */
export interface UnitChecker {
  readonly kind: 'unit';
  readonly name: string;
  readonly file: string | null;
}
/** A rule of the model check, in one family with its short budget. */
export interface ModelChecker {
  readonly kind: 'model';
  readonly family: string;
  readonly rules: readonly string[];
}
/** One of these checkers of the simulation, within so many seeds of a profile. */
export interface SimChecker {
  readonly kind: 'sim';
  readonly profile: ProfileName;
  readonly checkers: readonly string[];
  readonly seeds: number;
}

export interface Mutant {
  readonly id: string;
  /** What is wrong with it, and where that is known from. */
  readonly why: string;
  readonly edits: readonly Edit[];
  /** In the order in which they are asked. The first that sees the bug has killed it. */
  readonly checkers: readonly Checker[];
}

export const unit = (name: string, file: string | null = null): UnitChecker => ({ kind: 'unit', name, file });
export const model = (family: string, ...rules: string[]): ModelChecker => ({ kind: 'model', family, rules });
export const sim = (profile: ProfileName, seeds: number, ...checkers: string[]): SimChecker => ({ kind: 'sim', profile, seeds, checkers });

export const mutant = (id: string, why: string, file: string, find: string, replace: string, ...checkers: Checker[]): Mutant => ({
  id,
  why,
  edits: [{ file, find, replace }],
  checkers,
});

export function checkerText(checker: Checker): string {
  switch (checker.kind) {
    case 'unit':
      return checker.name;
    case 'model':
      return `model ${checker.family}: ${checker.rules.join(' or ')}`;
    case 'sim':
      return `simulation ${checker.profile}: ${checker.checkers.join(' or ')}`;
  }
}
