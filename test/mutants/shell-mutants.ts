import { type Mutant, mutant, sim, unit } from './mutant.js';

/** Bugs outside the core: storage, state machine, manager, worker. */

const STATE_WRITES = `    if (plan.takeState) {
      for (const change of batch.state) {
        const key = stateKey(before.generation, change.key);
        if (change.value === null) records.delete(key);
        else records.put(key, seal(key, change.value));
      }
    }
`;

const storage: readonly Mutant[] = [
  mutant(
    'unsynced-write',
    'A9: a batch is acknowledged when LevelDB has it, not when the disk does',
    'storage/engine.ts',
    'Promise.all([records.write(true), this.#writePosition(position)])',
    'Promise.all([records.write(false), this.#writePosition(position)])',
    unit('every write is one synced batch'),
    unit('a crash at any point leaves what was acknowledged'),
  ),
  mutant(
    'applied-index-in-another-batch',
    'A12: the state goes to disk before the index that says where it stands',
    'storage/engine.ts',
    STATE_WRITES,
    `    if (plan.takeState && batch.state.length > 0) {
      const early = this.#device.batch();
      for (const change of batch.state) {
        const key = stateKey(before.generation, change.key);
        if (change.value === null) early.delete(key);
        else early.put(key, seal(key, change.value));
      }
      await early.write(true);
    }
`,
    unit('every write is one synced batch'),
    unit('a crash at any point leaves what was acknowledged'),
  ),
  mutant(
    'failed-write-tried-again',
    'A8: after a write that failed the next one is let through',
    'storage/engine.ts',
    '    return this.#failure;\n  }\n\n  #refuse(): void {',
    '    return null;\n  }\n\n  #refuse(): void {',
    unit('the first failed write is final'),
  ),
  mutant(
    'chain-not-followed',
    'A10: a log record that stands in the place of another is taken as if it belonged there',
    'storage/recover.ts',
    'if (record.previousHash !== hash)',
    'if (record.previousHash !== hash && record.index < 0)',
    unit('a log record that is gone, or an old one in its place'),
  ),
  mutant(
    'vote-in-a-note',
    'a vote goes into the note, which the machine may forget: when the database is lost too, the vote is given twice',
    'storage/position.ts',
    '  position.vote === slot.vote &&\n',
    '',
    unit('a word that must outlive the database'),
  ),
  mutant(
    'slot-that-reaches-for-ever',
    'no slot is written while the term stands: a note that is lost takes the end of the log with it',
    'storage/position.ts',
    '  position.next.sequence <= slot.reach.sequence &&\n  position.lastIndex <= slot.reach.index;',
    '  position.next.sequence > 0;',
    unit('a word that must outlive the database'),
    unit('a machine that dies may give back an older note'),
  ),
  mutant(
    'note-taken-as-exact',
    'an older note of a machine that died is taken for the newest',
    'storage/position.ts',
    'if (!spoilt && boot !== 0 && newest.boot === boot) return true;',
    'if (!spoilt) return true;',
    unit('a machine that dies may give back an older note'),
    unit('a database that is lost together with the note'),
  ),
  mutant(
    'note-never-exact',
    'an old database is taken for one whose notes were lost, though the machine lives',
    'storage/position.ts',
    'if (!spoilt && boot !== 0 && newest.boot === boot) return true;',
    'if (spoilt) return false;',
    unit('while the machine lives, a note is as good as a slot'),
  ),
];

const cluster: readonly Mutant[] = [
  {
    id: 'completion-accepted-twice',
    why: 'an attempt that has succeeded can be reported once more, and finishes its task again',
    edits: [
      {
        file: 'src/cluster/tasks.ts',
        find: '  else leaveNode(turn, task);\n  leaveRequirement',
        replace: "  else if (as !== 'succeeded') leaveNode(turn, task);\n  leaveRequirement",
      },
      { file: 'src/cluster/tasks.ts', find: "  invariant(task.finishedSeq === 0, 'a task finishes once', task.spec.id, task.state, as);\n", replace: '' },
    ],
    checkers: [
      unit('the verdict on every report that is not of the current attempt'),
      unit('a task is submitted, assigned, run and done'),
      sim('quiet', 3, 'invariants', 'one completion'),
    ],
  },
  mutant(
    'returned-costs-a-try',
    'an attempt that its worker gave back counts as one of the tries',
    'src/cluster/tasks.ts',
    '    task.attempt--;\n    retry(turn, task, 0);',
    '    retry(turn, task, 0);',
    unit('an attempt that its worker gives back costs no try'),
    unit('random lives of a cluster keep every promise'),
  ),
  mutant(
    'stale-epoch-accepted',
    'a report counts for the task on its node, whatever attempt it speaks of',
    'src/cluster/reports.ts',
    'if (task !== undefined && task.epoch === item.epoch) {',
    'if (task !== undefined) {',
    unit('the verdict on every report that is not of the current attempt'),
    sim('workers', 10, 'stale report', 'one completion'),
  ),
  mutant(
    'epoch-reused',
    'epochs are counted for each task, so two attempts share one',
    'src/cluster/tasks.ts',
    'state.epoch = epoch(state.epoch + 1);',
    'state.epoch = epoch(task.attempt + 1);',
    unit('random lives of a cluster keep every promise'),
    sim('quiet', 5, 'invariants', 'epochs only grow'),
  ),
  mutant(
    'capacity-not-checked',
    'an assign is carried out as planned, though the node has filled up meanwhile',
    'src/cluster/fit.ts',
    "return node.state === 'ready' && hasRoom(node, resources) && keepsAll(node.labels, constraints);",
    "return node.state === 'ready' && keepsAll(node.labels, constraints);",
    unit('an assign is checked again'),
  ),
  mutant(
    'old-session-heard',
    'a report under a session that is over counts',
    'src/cluster/reports.ts',
    "if (node.session !== session || node.state === 'lost')",
    "if (node.state === 'lost')",
    unit('reports count only under the session of now'),
  ),
  mutant(
    'id-taken-over',
    'a submit under an id that another task has is told that its task is there',
    'src/cluster/tasks.ts',
    "    if (!sameSpec(known.spec, spec)) return { code: 'taskConflict', taskId: spec.id };\n",
    '',
    unit('submit again: the same task is the same'),
    sim('quiet', 10, 'idempotent submit'),
  ),
  mutant(
    'time-runs-backwards',
    'the time of a block counts though the one before it was later',
    'src/cluster/apply.ts',
    'if (block.atMs > state.nowMs) state.nowMs = block.atMs;',
    'state.nowMs = block.atMs;',
    unit('time never runs backwards'),
  ),
  mutant(
    'backoff-from-the-second-attempt',
    'the first retry does not wait',
    'src/cluster/tasks.ts',
    'Math.min(spec.backoffMs * 2 ** (n - 1), spec.backoffMaxMs)',
    'n === 1 ? 0 : Math.min(spec.backoffMs * 2 ** (n - 1), spec.backoffMaxMs)',
    unit('a failed attempt waits'),
  ),
  mutant(
    'folds-what-may-grow',
    'a pack is folded while tasks may still join it',
    'src/cluster/folding.ts',
    'tasks.length === 0 || !isClosed(state, pack)) return false;',
    'tasks.length === 0) return false;',
    unit('a cancel unfolds one pack'),
  ),
  mutant(
    'folds-what-ran',
    'a task that came back from an attempt is folded, and its attempts are forgotten',
    'src/cluster/folding.ts',
    "if (task.queued !== 'fresh' || task.requirement.placeable <= state.foldBehind || !isFresh(task)) return false;",
    'if (task.requirement.placeable <= state.foldBehind) return false;',
    unit('random backlogs'),
  ),
  mutant(
    'folds-over-a-stranger',
    'tasks are folded into one place although another stands between them',
    'src/cluster/folding.ts',
    "let into = previous?.queued === 'folded' && previous.pack === pack ? previous : null;",
    "let into = folds.at(-1) ?? (previous?.queued === 'folded' && previous.pack === pack ? previous : null);",
    unit('a pack of many priorities and needs is folded piece by piece'),
  ),
  mutant(
    'folded-under-another-id',
    'a folded pack is taken for every task whose hash one of its own has',
    'src/cluster/task-table.ts',
    '(isPack(held) ? aliveIds((held.folded as Folded).record).includes(id) : held.spec.id === id)',
    '(isPack(held) || held.spec.id === id)',
    unit('two tasks with one hash, in one pack and in two'),
  ),
];

const manager: readonly Mutant[] = [
  mutant(
    'write-answered-before-commit',
    'a submit is acknowledged when it is in the log of the leader',
    'src/manager/loop.ts',
    '    const outcome = this.proposals.add(commands, bytes, kind, this.clock.nowMs());\n    this.wake();\n    return outcome;\n',
    "    const outcome = this.proposals.add(commands, bytes, kind, this.clock.nowMs());\n    this.wake();\n    if (kind !== 'client' || commands[0]?.type !== 'submit') return outcome;\n    outcome.catch(() => {});\n    return Promise.resolve(commands.map((command) => ({ code: 'submitted', taskId: command.task.id, state: 'pending', revision: this.machine.index + 1 })));\n",
    unit('a write that finds no quorum is answered when its time is over'),
    sim('crashes', 10, 'acknowledged is never lost', 'idempotent submit', 'client', 'durability'),
  ),
  mutant(
    'state-written-while-replaced',
    'while a snapshot takes the place of the state, the old state goes on being written, into the new one',
    'src/manager/state-machine.ts',
    'return this.replacing === null ? this.writer.take(this.state, this.index, this.term) : null;',
    'return this.writer.take(this.state, this.index, this.term);',
    unit('nothing of the old state is written while a snapshot takes its place'),
  ),
  mutant(
    'read-before-applied',
    'a read is served when it is granted, not when its index is applied here',
    'src/manager/reads.ts',
    'if (round.index === null || round.index > index) {',
    'if (round.index === null) {',
    unit('reads: who came before a round shares it'),
  ),
  mutant(
    'leader-reads-alone',
    'a manager that believes to lead answers reads from what it has, without asking the others',
    'src/manager/replica.ts',
    '    const granted = this.loop.reads.add(this.clock.nowMs());\n',
    '    if (this.loop.isLeader) return Promise.resolve();\n    const granted = this.loop.reads.add(this.clock.nowMs());\n',
    unit('a leader that was away asks before it answers'),
    sim('pauses', 20, 'linearizable reads'),
    unit('a leader that slept, and is cut off when it wakes'),
  ),
  mutant(
    'queued-after-leadership',
    'what waited before the log when the leadership went is told nothing',
    'src/manager/loop.ts',
    'if (raft.isLeader || this.proposals.queued === 0) return;',
    'if (this.proposals.queued >= 0) return;',
    unit('what waits before the log is refused as soon as the leadership is gone'),
  ),
  mutant(
    'handed-over-is-refused',
    'a write that waits for the hand-over is refused as soon as the leadership is gone, when there is nobody to go to yet',
    'src/manager/loop.ts',
    "return outcome.code === 'busy' || outcome.code === 'transferring' || this.handing.successor !== NO_SERVER ? 'busy' : 'refused';",
    "return outcome.code === 'busy' || outcome.code === 'transferring' ? 'busy' : 'refused';",
    unit('a leader that stops hands over first'),
  ),
  mutant(
    'guess-kept-for-ever',
    'what a block was to take from a node stays taken when the block has been applied',
    'src/manager/leadership.ts',
    'this.ahead.remove(commands);',
    '',
    unit('reports that come faster than commits'),
  ),
  mutant(
    'guess-given-twice',
    'a task that a block on its way gives to a node is planned again for the next one',
    'src/scheduler/plan.ts',
    'while (cursor.current !== null && ahead.gives(cursor.current.queuedSeq));',
    'while (false);',
    unit('random pipelines: right guesses are all kept'),
  ),
  mutant(
    'assign-trusts-the-plan',
    'assign takes a pair of a plan without asking again whether the node has room',
    'src/cluster/tasks.ts',
    "task.queued !== 'delayed' && mayRun(node, task.requirement)",
    "task.queued !== 'delayed'",
    unit('the same report twice on its way'),
  ),
  mutant(
    'hole-hides-a-task',
    'a task that left the table takes the way to those behind it along',
    'src/cluster/task-table.ts',
    'if (((at - home) & mask) < ((at - to) & mask)) continue;',
    'if (((at - home) & mask) <= ((at - to) & mask)) continue;',
    unit('beside a Map: random ids'),
  ),
  mutant(
    'same-hash-same-task',
    'whoever has the hash of an id is taken for its task',
    'src/cluster/task-table.ts',
    'slots[at] === hash && isOf(this.held[place - 1] as Held, id)',
    'slots[at] === hash',
    unit('ids with one hash stand beside each other'),
  ),
  mutant(
    'requirement-outlives-its-tasks',
    'a requirement that its last task took away is given to the next one',
    'src/cluster/queue.ts',
    'latest !== null && latest.tasks > 0 &&',
    'latest !== null &&',
    unit('random lives of a cluster'),
  ),
  mutant(
    'queue-refused-between-leaders',
    'the same for what never came as far as a block',
    'src/manager/loop.ts',
    'if (this.handing.successor === NO_SERVER || raft.leader !== NO_SERVER) this.proposals',
    'if (this.proposals.queued > 0) this.proposals',
    unit('a leader that stops hands over first'),
  ),
  mutant(
    'stopping-takes-over',
    'a manager that is stopping campaigns when the leader hands over to it, and is gone when it has won',
    'src/manager/loop.ts',
    "if (message.type !== 'timeoutNow' || this.phase === 'running') this.step",
    "if (message.type !== 'timeoutNow' || this.alive) this.step",
    unit('who stops takes nothing over'),
  ),
  mutant(
    'turn-before-time',
    'A46: after a stall a turn grants reads by a lease that is over, because the time has not been told yet',
    'src/manager/loop.ts',
    '    this.tellTime();\n    const startedMs',
    '    const startedMs',
    unit('with leases: time is told before a turn'),
  ),
  mutant(
    'old-disk-let-in',
    'A7: a peer that comes with the directory it had before its last is taken for one with a new one',
    'src/manager/handshake.ts',
    "if (known.history.includes(incarnation)) return 'replaced';",
    "if (known.history[0] === '') return 'replaced';",
    unit('a peer that comes with the directory it had before its last'),
    unit('a directory that was replaced and is put back'),
  ),
  mutant(
    'members-not-compared',
    'a manager that counts other members or witnesses is let in',
    'src/manager/handshake.ts',
    'if (same(ours.members, theirs.members) && same(ours.witnesses, theirs.witnesses)) return null;',
    'if (ours.members.length > 0 && theirs.members.length > 0) return null;',
    unit('managers that were started with different lists'),
  ),
  mutant(
    'silence-while-deaf',
    'a leader that stood still takes its own silence for that of the nodes',
    'src/manager/liveness.ts',
    'if (ms > 0) this.deafMs += ms;',
    'if (ms < 0) this.deafMs += ms;',
    unit('liveness: while the leader could not hear, nobody was silent'),
  ),
];

const worker: readonly Mutant[] = [
  mutant(
    'forgets-what-ended',
    'an older line that was still under way starts an attempt that has ended here',
    'src/worker/session.ts',
    "      if (state !== 'running') this.endedEpochs.add(epoch, answer.revision);\n",
    '',
    unit('a line that was overtaken by an answer starts nothing again'),
  ),
  mutant(
    'superseded-goes-on',
    'an attempt that was told to count no more runs on',
    'src/worker/session.ts',
    "      if (state === 'running') this.attempts.stop(epoch, 'superseded');\n",
    '',
    unit('at most one start per epoch; cancel and supersede'),
  ),
  mutant(
    'stopped-counts-as-failed',
    'what a worker did not finish before it was stopped is reported as failed',
    'src/worker/executors/executor.ts',
    "return 'returned';",
    "return 'failed';",
    unit('stop: takes nothing new'),
  ),
  mutant(
    'older-view-acted-upon',
    'a line that is older than what was seen changes what runs',
    'src/worker/session.ts',
    '        if (!isOlder(line, this.seen)) this.apply(line);\n',
    '        this.apply(line);\n',
    unit('views of older terms are not acted upon'),
  ),
  mutant(
    'newer-attempt-beside-the-older',
    'a newer attempt of a task starts before the older one has ended',
    'src/worker/attempts.ts',
    'if (earlier === undefined) {\n',
    'if (earlier === undefined || earlier !== attempt) {\n',
    unit('a newer attempt of a task waits until the older one has ended'),
  ),
  mutant(
    'unanswered-end-lost',
    'an end whose answer was lost is not reported again',
    'src/worker/reports.ts',
    'if (isEnd(item) ? this.ends.get(item.epoch) === entry : ',
    'if (isEnd(item) ? false : ',
    unit('outbox: one item an attempt'),
  ),
];

export const SHELL: readonly Mutant[] = [...storage, ...cluster, ...manager, ...worker];
