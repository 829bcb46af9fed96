/**
 * Judges what the demo saw. Pure: evidence in, verdict out, so that a test can show it a cluster that lies.
 */

export interface AttemptRecord {
  readonly epoch: number;
  readonly nodeId: string;
  readonly end: string | null;
}

/** A task as a manager tells it. `sha256`: what the task gave, null if it gave nothing of the kind. */
export interface TaskRecord {
  readonly id: string;
  readonly state: string;
  readonly epoch: number;
  readonly finishedAtMs: number | null;
  readonly sha256: string | null;
  readonly attempts: readonly AttemptRecord[];
}

/** A line of a worker's own journal, written as its handler begins and ends. */
export interface JournalLine {
  readonly taskId: string;
  readonly epoch: number;
  readonly what: 'begin' | 'end';
  readonly pid: number;
}

export interface Evidence {
  /** Ids whose submit was acknowledged. */
  readonly acknowledged: ReadonlySet<string>;
  /** What each task must give, computed by the demo itself; null for tasks that give nothing (the probe's). */
  readonly expected: ReadonlyMap<string, string | null>;
  /** Of them, those which run as a handler: they stand in the journals. */
  readonly handlerTasks: ReadonlySet<string>;
  /** Finished tasks as they were listed before the leader was killed. */
  readonly before: readonly TaskRecord[];
  /** At the end: what every manager answers from its own state, and how many completions it counted. */
  readonly managers: readonly { readonly serverId: number; readonly tasks: readonly TaskRecord[]; readonly succeeded: number }[];
  readonly journal: readonly JournalLine[];
}

export interface Verdict {
  readonly acknowledged: number;
  readonly completedOnce: number;
  readonly lost: readonly string[];
  readonly completedTwice: readonly string[];
  readonly wrongDigests: readonly string[];
  readonly brokenEpochs: readonly string[];
  readonly disagreements: readonly string[];
  /** Accepted completions that no worker's journal knows under their epoch. */
  readonly unaccounted: readonly string[];
  /** Honest, and no broken promise: a task may be started again after its worker or its report was lost. */
  readonly attemptedAgain: number;
  readonly ranAgain: number;
  readonly endedAgain: number;
  readonly kept: boolean;
}

export function judge(evidence: Evidence): Verdict {
  const [first, ...others] = evidence.managers;
  if (first === undefined) throw new Error('no manager answered at the end: there is nothing to judge');
  const tasks = new Map(first.tasks.map((task) => [task.id, task]));
  const completedTwice = new Set<string>();

  // A record that stands twice in one list, two attempts that both ended well, or more completions counted than there are tasks.
  if (tasks.size !== first.tasks.length) for (const task of first.tasks) if (tasks.get(task.id) !== task) completedTwice.add(task.id);
  for (const task of first.tasks) if (task.attempts.filter((one) => one.end === 'succeeded').length > 1) completedTwice.add(task.id);
  for (const manager of evidence.managers) {
    const distinct = new Set(manager.tasks.filter((task) => task.state === 'succeeded').map((task) => task.id)).size;
    if (manager.succeeded !== distinct) completedTwice.add(`(manager ${manager.serverId} counted ${manager.succeeded} completions of ${distinct} tasks)`);
  }
  // A completion, once told, never changes: not over the failover, not from one manager to the next.
  for (const early of evidence.before) if (early.finishedAtMs !== null && !sameEnd(early, tasks.get(early.id))) completedTwice.add(early.id);

  const disagreements = others.flatMap((manager) => disagreement(first, manager));
  const lost = [...evidence.acknowledged].filter((id) => tasks.get(id)?.state !== 'succeeded');
  const wrongDigests = [...evidence.acknowledged].filter((id) => {
    const expected = evidence.expected.get(id);
    const task = tasks.get(id);
    return expected !== undefined && expected !== null && task?.state === 'succeeded' && task.sha256 !== expected;
  });
  const brokenEpochs = epochFaults(first.tasks);
  const { unaccounted, ranAgain, endedAgain } = journalFindings(evidence, tasks);
  const completedOnce = [...evidence.acknowledged].filter((id) => tasks.get(id)?.state === 'succeeded' && !completedTwice.has(id)).length;
  return {
    acknowledged: evidence.acknowledged.size,
    completedOnce,
    lost,
    completedTwice: [...completedTwice],
    wrongDigests,
    brokenEpochs,
    disagreements,
    unaccounted,
    attemptedAgain: first.tasks.filter((task) => task.attempts.length > 1).length,
    ranAgain,
    endedAgain,
    kept:
      [lost, wrongDigests, brokenEpochs, disagreements, unaccounted].every((list) => list.length === 0) &&
      completedTwice.size === 0 &&
      completedOnce === evidence.acknowledged.size,
  };
}

const sameEnd = (a: TaskRecord, b: TaskRecord | undefined): boolean =>
  b !== undefined && a.state === b.state && a.epoch === b.epoch && a.finishedAtMs === b.finishedAtMs && a.sha256 === b.sha256;

function disagreement(first: Evidence['managers'][number], other: Evidence['managers'][number]): string[] {
  const theirs = new Map(other.tasks.map((task) => [task.id, task]));
  const differing = first.tasks.filter((task) => !sameEnd(task, theirs.get(task.id))).map((task) => task.id);
  const known = new Set(first.tasks.map((task) => task.id));
  return [...differing, ...other.tasks.filter((task) => !known.has(task.id)).map((task) => task.id)].map(
    (id) => `${id} (managers ${first.serverId} and ${other.serverId})`,
  );
}

/** No epoch is given twice in the whole cluster, a task's own only grow, and its last one is the one that counts. */
function epochFaults(tasks: readonly TaskRecord[]): string[] {
  const faults: string[] = [];
  const holder = new Map<number, string>();
  for (const task of tasks) {
    let before = 0;
    for (const { epoch } of task.attempts) {
      const other = holder.get(epoch);
      if (other !== undefined) faults.push(`epoch ${epoch} was given to ${other} and to ${task.id}`);
      holder.set(epoch, task.id);
      if (epoch <= before) faults.push(`${task.id}: epoch ${epoch} after ${before}`);
      before = epoch;
    }
    const accepted = task.attempts.at(-1);
    if (task.state === 'succeeded' && (accepted?.epoch !== task.epoch || accepted.end !== 'succeeded'))
      faults.push(`${task.id}: succeeded under epoch ${task.epoch}, but its last attempt is ${accepted?.epoch ?? 'none'}`);
  }
  return faults;
}

/** The workers' own word, independent of the managers: who ran what, under which epoch. */
function journalFindings(evidence: Evidence, tasks: ReadonlyMap<string, TaskRecord>): Pick<Verdict, 'unaccounted' | 'ranAgain' | 'endedAgain'> {
  const begun = new Map<string, number>();
  const ended = new Map<string, number>();
  const endedUnder = new Map<string, number>();
  for (const line of evidence.journal) {
    const counts = line.what === 'begin' ? begun : ended;
    counts.set(line.taskId, (counts.get(line.taskId) ?? 0) + 1);
    if (line.what === 'end') endedUnder.set(`${line.taskId} ${line.epoch}`, (endedUnder.get(`${line.taskId} ${line.epoch}`) ?? 0) + 1);
  }
  const unaccounted: string[] = [];
  for (const id of evidence.handlerTasks) {
    const task = tasks.get(id);
    if (task?.state !== 'succeeded') continue;
    const runs = endedUnder.get(`${id} ${task.epoch}`) ?? 0;
    if (runs !== 1) unaccounted.push(`${id} was accepted under epoch ${task.epoch}, which ran to its end ${runs} times`);
  }
  const again = (counts: ReadonlyMap<string, number>): number => [...counts.values()].filter((times) => times > 1).length;
  return { unaccounted, ranAgain: again(begun), endedAgain: again(ended) };
}

export interface Acknowledgement {
  readonly sentMs: number;
  readonly answeredMs: number;
}

/** The longest silence between two acknowledgements that touches the `withinMs` after `killedMs`. Null: none came after. */
export function longestGap(acknowledgements: readonly Acknowledgement[], killedMs: number, withinMs: number): number | null {
  let longest: number | null = null;
  for (let at = 1; at < acknowledgements.length; at += 1) {
    const from = (acknowledgements[at - 1] as Acknowledgement).answeredMs;
    const to = (acknowledgements[at] as Acknowledgement).answeredMs;
    if (to >= killedMs && from <= killedMs + withinMs) longest = Math.max(longest ?? 0, to - from);
  }
  return longest;
}
