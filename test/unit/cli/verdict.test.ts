import t from 'tap';
import { type Evidence, type JournalLine, judge, longestGap, type TaskRecord, type Verdict } from '../../../bench/demo/verdict.js';

/** An honest cluster: three tasks, one of them attempted twice because its first worker died. */
function honest(): { tasks: TaskRecord[]; journal: JournalLine[] } {
  const good = (id: string, epoch: number): TaskRecord => ({
    id,
    state: 'succeeded',
    epoch,
    finishedAtMs: 100 + epoch,
    sha256: `digest of ${id}`,
    attempts: [{ epoch, nodeId: 'n1', end: 'succeeded' }],
  });
  const again: TaskRecord = {
    ...good('c', 5),
    attempts: [
      { epoch: 3, nodeId: 'n2', end: 'lost' },
      { epoch: 5, nodeId: 'n1', end: 'succeeded' },
    ],
  };
  const ran = (taskId: string, epoch: number): JournalLine[] => [
    { taskId, epoch, what: 'begin', pid: 1 },
    { taskId, epoch, what: 'end', pid: 1 },
  ];
  return {
    tasks: [good('a', 1), good('b', 2), again],
    journal: [...ran('a', 1), ...ran('b', 2), { taskId: 'c', epoch: 3, what: 'begin', pid: 2 }, ...ran('c', 5)],
  };
}

function evidence(
  change: (
    tasks: TaskRecord[],
    journal: JournalLine[],
  ) => { tasks?: TaskRecord[]; journal?: JournalLine[]; second?: TaskRecord[]; before?: TaskRecord[]; succeeded?: number },
): Evidence {
  const { tasks, journal } = honest();
  const changed = change(structuredClone(tasks), structuredClone(journal));
  const all = changed.tasks ?? tasks;
  return {
    acknowledged: new Set(['a', 'b', 'c']),
    expected: new Map(['a', 'b', 'c'].map((id) => [id, `digest of ${id}`])),
    handlerTasks: new Set(['a', 'b', 'c']),
    before: changed.before ?? tasks.slice(0, 1),
    journal: changed.journal ?? journal,
    managers: [
      { serverId: 1, tasks: all, succeeded: changed.succeeded ?? all.filter((task) => task.state === 'succeeded').length },
      { serverId: 2, tasks: changed.second ?? all, succeeded: (changed.second ?? all).filter((task) => task.state === 'succeeded').length },
    ],
  };
}

const edit = (tasks: TaskRecord[], id: string, change: Partial<TaskRecord>): TaskRecord[] =>
  tasks.map((task) => (task.id === id ? { ...task, ...change } : task));

t.test('an honest cluster is believed', async (t) => {
  const verdict = judge(evidence(() => ({})));
  t.match(verdict, {
    kept: true,
    acknowledged: 3,
    completedOnce: 3,
    lost: [],
    completedTwice: [],
    wrongDigests: [],
    brokenEpochs: [],
    disagreements: [],
    unaccounted: [],
    attemptedAgain: 1,
    ranAgain: 1,
    endedAgain: 0,
  });
});

t.test('each lie is named', async (t) => {
  const lies: Record<string, [keyof Verdict, Evidence]> = {
    'a task is gone': ['lost', evidence((tasks) => ({ tasks: tasks.slice(1), before: [] }))],
    'a task never finished': ['lost', evidence((tasks) => ({ tasks: edit(tasks, 'b', { state: 'pending', finishedAtMs: null }) }))],
    'a task failed': ['lost', evidence((tasks) => ({ tasks: edit(tasks, 'b', { state: 'failed' }) }))],
    'two attempts both counted': [
      'completedTwice',
      evidence((tasks) => ({
        tasks: edit(tasks, 'c', {
          attempts: [
            { epoch: 3, nodeId: 'n2', end: 'succeeded' },
            { epoch: 5, nodeId: 'n1', end: 'succeeded' },
          ],
        }),
      })),
    ],
    'a task stands twice in the list': ['completedTwice', evidence((tasks) => ({ tasks: [...tasks, ...tasks.slice(0, 1)], succeeded: 3 }))],
    'more completions counted than tasks': ['completedTwice', evidence(() => ({ succeeded: 4 }))],
    'a completion changed over the failover': ['completedTwice', evidence((tasks) => ({ before: edit(tasks, 'a', { epoch: 4 }).slice(0, 1) }))],
    'a completion was taken back and lost': ['completedTwice', evidence((tasks) => ({ tasks: tasks.slice(1) }))],
    'a digest is wrong': ['wrongDigests', evidence((tasks) => ({ tasks: edit(tasks, 'b', { sha256: 'another' }) }))],
    'a digest is missing': ['wrongDigests', evidence((tasks) => ({ tasks: edit(tasks, 'b', { sha256: null }) }))],
    'one epoch, two tasks': [
      'brokenEpochs',
      evidence((tasks) => ({ tasks: edit(tasks, 'b', { epoch: 1, attempts: [{ epoch: 1, nodeId: 'n1', end: 'succeeded' }] }) })),
    ],
    'epochs shrink': [
      'brokenEpochs',
      evidence((tasks) => ({
        tasks: edit(tasks, 'c', {
          attempts: [
            { epoch: 6, nodeId: 'n2', end: 'lost' },
            { epoch: 5, nodeId: 'n1', end: 'succeeded' },
          ],
        }),
      })),
    ],
    'an older attempt was accepted': ['brokenEpochs', evidence((tasks) => ({ tasks: edit(tasks, 'c', { epoch: 3 }) }))],
    'a manager knows less': ['disagreements', evidence((tasks) => ({ second: tasks.slice(0, 2) }))],
    'a manager knows more': ['disagreements', evidence((tasks) => ({ second: [...tasks, { ...(tasks[0] as TaskRecord), id: 'd' }] }))],
    'a manager tells another end': ['disagreements', evidence((tasks) => ({ second: edit(tasks, 'b', { epoch: 9 }) }))],
    'nobody ran it': ['unaccounted', evidence((_, journal) => ({ journal: journal.filter((line) => line.taskId !== 'b') }))],
    'it ran under another epoch': [
      'unaccounted',
      evidence((_, journal) => ({ journal: journal.map((line) => (line.taskId === 'b' ? { ...line, epoch: 9 } : line)) })),
    ],
    'one epoch ran twice': ['unaccounted', evidence((_, journal) => ({ journal: [...journal, { taskId: 'b', epoch: 2, what: 'end', pid: 3 }] }))],
  };
  for (const [lie, [where, given]] of Object.entries(lies)) {
    const verdict = judge(given);
    t.equal(verdict.kept, false, lie);
    t.not((verdict[where] as readonly string[]).length, 0, `${lie}: told as ${where}`);
  }
});

t.test('the failover is the longest silence around the kill', async (t) => {
  const at = (...answered: number[]) => answered.map((answeredMs) => ({ sentMs: answeredMs - 1, answeredMs }));
  t.equal(longestGap(at(0, 10, 20, 820, 830), 25, 10_000), 800);
  t.equal(longestGap(at(0, 500, 510, 910, 920), 512, 10_000), 400, 'a silence before the kill does not count');
  t.equal(longestGap(at(0, 10, 20), 25, 10_000), null, 'nothing came after it');
});
