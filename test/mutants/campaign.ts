import { join } from 'node:path';
import { ask, distinct, fileOf, type Verdict } from './check.js';
import { type Checker, checkerText, type Mutant } from './mutant.js';
import { applied, Slot } from './slot.js';

export interface Asked extends Verdict {
  readonly checker: string;
}

export interface Result {
  readonly mutant: Mutant;
  /** The first named checker that saw it; null: it survived. */
  readonly killedBy: string | null;
  readonly asked: readonly Asked[];
  /** From putting it in to the verdict that killed it. */
  readonly ms: number;
}

export interface CampaignOptions {
  /** Scratch: one folder a job is made in it. */
  readonly directory: string;
  readonly jobs: number;
  /** Asks every checker of a mutant, not only until the first has seen it. */
  readonly every: boolean;
  readonly control: boolean;
  readonly tell: (line: string) => void;
}

export interface Campaign {
  readonly control: readonly Asked[];
  readonly results: readonly Result[];
  readonly survivors: readonly string[];
  readonly ms: number;
}

/**
 * Every mutant, each in a copy of the compiled tree. First the control: the same checkers in the same harness with nothing broken must be green.
 * Throws where a mutant does not apply, a checker does not exist, or the control is not green: then the run proves nothing.
 */
export async function campaign(mutants: readonly Mutant[], options: CampaignOptions): Promise<Campaign> {
  const startedMs = performance.now();
  const wrong = faultsOf(mutants);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  const slots = Array.from({ length: options.jobs }, (_, at) => new Slot(join(options.directory, `slot-${at + 1}`)));
  const control = options.control ? await controlRun(slots, distinct(mutants.flatMap((mutant) => mutant.checkers)), options) : [];
  const results = await inSlots(slots, mutants, async (slot, mutant, done) => {
    const result = await judge(slot, mutant, options.every);
    const said = result.asked.map((one) => `[${one.checker}: ${one.kind}${one.text === '' ? '' : `, ${one.text}`}]`).join(' ');
    const by = result.killedBy === null ? `SURVIVED ${said}` : `killed by ${result.killedBy}${options.every ? ` ${said}` : ''}`;
    options.tell(`${done}/${mutants.length} ${mutant.id}: ${by}, ${(result.ms / 1000).toFixed(1)} s`);
    return result;
  });
  const survivors = results.filter((result) => result.killedBy === null).map((result) => result.mutant.id);
  return { control, results, survivors, ms: Math.round(performance.now() - startedMs) };
}

/** What does not fit the tree any more: texts that are not there, checkers that are not. */
export function faultsOf(mutants: readonly Mutant[]): string[] {
  const wrong: string[] = [];
  const attempt = (look: () => unknown): void => {
    try {
      look();
    } catch (error) {
      wrong.push((error as Error).message);
    }
  };
  const ids = new Set<string>();
  for (const mutant of mutants) {
    if (ids.has(mutant.id)) wrong.push(`two mutants are called ${mutant.id}`);
    ids.add(mutant.id);
    attempt(() => applied(mutant));
    if (mutant.checkers.length === 0) wrong.push(`mutant ${mutant.id} names no checker`);
    for (const checker of mutant.checkers) if (checker.kind === 'unit') attempt(() => fileOf(checker));
  }
  return wrong;
}

async function controlRun(slots: readonly Slot[], checkers: readonly Checker[], { tell }: CampaignOptions): Promise<Asked[]> {
  const asked = await inSlots(slots, checkers, async (slot, checker, done) => {
    const verdict = await ask(slot, checker);
    tell(`control ${done}/${checkers.length} ${checkerText(checker)}: ${verdict.kind}, ${(verdict.ms / 1000).toFixed(1)} s`);
    return { checker: checkerText(checker), ...verdict };
  });
  const red = asked.filter((one) => one.kind !== 'green');
  if (red.length > 0)
    throw new Error(`the control is not green, so no mutant can be judged: ${red.map((one) => `${one.checker}: ${one.kind} ${one.text}`).join('; ')}`);
  return asked;
}

async function judge(slot: Slot, mutant: Mutant, every: boolean): Promise<Result> {
  const startedMs = performance.now();
  await slot.break(mutant);
  const asked: Asked[] = [];
  let killedBy: string | null = null;
  let ms = 0;
  for (const checker of mutant.checkers) {
    if (killedBy !== null && !every) break;
    const verdict = await ask(slot, checker);
    asked.push({ checker: checkerText(checker), ...verdict });
    if (killedBy === null) ms = Math.round(performance.now() - startedMs);
    // What hangs under the named check does not pass it: that is a verdict too, and is told as such.
    if (killedBy === null && (verdict.kind === 'seen' || verdict.kind === 'hung')) killedBy = checkerText(checker);
  }
  slot.mend();
  return { mutant, killedBy, asked, ms };
}

/** Each slot takes the next piece of work as soon as it is free. */
async function inSlots<Work, Made>(
  slots: readonly Slot[],
  work: readonly Work[],
  run: (slot: Slot, work: Work, done: number) => Promise<Made>,
): Promise<Made[]> {
  const made = new Array<Made>(work.length);
  let next = 0;
  let done = 0;
  const serve = async (slot: Slot): Promise<void> => {
    while (next < work.length) {
      const at = next;
      next += 1;
      made[at] = await run(slot, work[at] as Work, at + 1);
      done += 1;
    }
  };
  await Promise.all(slots.map(serve));
  if (done !== work.length) throw new Error(`${done} of ${work.length} were done`);
  return made;
}
