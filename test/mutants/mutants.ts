import { MEMBERSHIP } from './membership-mutants.js';
import type { Mutant } from './mutant.js';
import { RAFT } from './raft-mutants.js';
import { SHELL } from './shell-mutants.js';

export const MUTANTS: readonly Mutant[] = [...RAFT, ...MEMBERSHIP, ...SHELL];
