import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Raft } from '../../raft/index.js';
import { honestShell, type Shell } from './server.js';

/** A text of the compiled core and what stands there instead. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Mistakes inside the core: a copy of it with some words changed. Error: the words are not there (any more), or more than once. */
export async function plant(name: string, edits: readonly Edit[]): Promise<Shell> {
  const folder = mkdtempSync(join(tmpdir(), 'quorate-model-'));
  try {
    cpSync(join(import.meta.dirname, '..', '..', 'raft'), folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    for (const { file, find, replace } of edits) {
      const path = join(folder, file);
      const parts = readFileSync(path, 'utf8').split(find);
      if (parts.length !== 2) throw new Error(`${name}: ${file} holds ${JSON.stringify(find)} ${parts.length - 1} times, not once: follow the core`);
      writeFileSync(path, parts.join(replace));
    }
    const module = (await import(pathToFileURL(join(folder, 'raft.js')).href)) as { Raft: typeof Raft };
    return { ...honestShell, name, make: (init, options) => new module.Raft(init, options) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const INSIDE: Readonly<Record<string, readonly Edit[]>> = {
  // Paper figure 2, AppendEntries, rule 2: the entry before is not looked at.
  'no-consistency-check': [{ file: 'follower.js', find: 'else if (log.termAt(prevIndex) !== prevTerm)', replace: 'else if (log.termAt(prevIndex) === null)' }],
  // Paper section 5.4.2 and figure 8: an entry of an older term is committed by counting.
  'commits-old-terms': [{ file: 'commit.js', find: 'if (reached <= state.commit || reached < leader.first)', replace: 'if (reached <= state.commit)' }],
  // Paper section 5.3: a leader that cuts what it has proposed.
  'leader-cuts': [
    {
      file: 'leader.js',
      find: "import { appendOwn, noteProposed } from './append.js';",
      replace: "import { appendOwn, noteProposed } from './append.js';\nimport { writeTruncation } from './lane.js';",
    },
    {
      file: 'leader.js',
      find: 'const first = plus(log.last, 1);',
      replace: 'if (log.last > state.commit) { const cut = log.last; log.truncate(cut); writeTruncation(state.lane, cut); } const first = plus(log.last, 1);',
    },
  ],
  // Paper section 5.2: a second vote in the same term.
  'votes-twice': [
    { file: 'vote.js', find: 'const free = state.vote === NO_SERVER || state.vote === message.from;', replace: 'const free = true;' },
    {
      file: 'roles.js',
      find: "invariant(state.vote === NO_SERVER || state.vote === candidate, 'one vote in a term: voted, asked', state.vote, candidate);",
      replace: '',
    },
  ],
  // Paper section 5.4.1: a vote for a candidate whose log is older.
  'votes-for-older-logs': [{ file: 'vote.js', find: 'if (!free || !isUpToDate(state, message.lastIndex, message.lastTerm))', replace: 'if (!free)' }],
  // Trap A23: a commit is told that the peer may not hold.
  'tells-beyond-match': [{ file: 'heartbeat.js', find: 'const commit = lesser(state.commit, peer.match);', replace: 'const commit = state.commit;' }],
  // Trap A44: a read before the first commit of the leader's term.
  'reads-too-soon': [{ file: 'reads.js', find: 'if (state.commit < leader.first)\n        return;', replace: '' }],
  // Thesis 6.4: a read without a round of heartbeats.
  'reads-without-round': [{ file: 'reads.js', find: 'reads[done].round <= reached', replace: 'true' }],
  // Trap A38 once more: while joint, the new majority alone grants reads.
  'reads-one-majority': [
    {
      file: 'reads.js',
      find: 'const reached = reachedByQuorum(state.configuration,',
      replace: 'const reached = reachedByQuorum({ ...state.configuration, outgoing: null },',
    },
  ],
  // raft/commit.ts: a witness gets what the leader has, before anybody holds it durably.
  'witness-ahead': [
    {
      file: 'leader.js',
      find: 'peer.witness ? heldByFullVoter(state) : state.log.last',
      // Not the very first entry: the family begins behind it.
      replace: 'peer.witness && state.commit === 0 ? heldByFullVoter(state) : state.log.last',
    },
  ],
  // It holds no state, so why should it compare: a witness votes for anybody.
  'witness-votes-blindly': [
    { file: 'vote.js', find: 'if (!free || !isUpToDate(', replace: 'if (!free || !state.witness && !isUpToDate(' },
    {
      file: 'vote.js',
      find: 'message.term > state.term && isUpToDate(state, message.lastIndex, message.lastTerm)',
      replace: 'message.term > state.term && (state.witness || isUpToDate(state, message.lastIndex, message.lastTerm))',
    },
  ],
  // raft/lease.ts: the leader counts on more than its followers promise.
  'long-lease': [
    { file: 'lease.js', find: 'if (leader.roundsBefore.length > leaseTicks)', replace: 'if (leader.roundsBefore.length > leaseTicks + 1)' },
    { file: 'lease.js', find: 'leader.roundsBefore.length < leaseTicks ?', replace: 'leader.roundsBefore.length < leaseTicks + 1 ?' },
  ],
  // Trap A47: a lease goes on while leadership is handed over, though that election passes every promise.
  'lease-in-transfer': [
    { file: 'lease.js', find: 'if (leaseTicks === 0 || leader.transferTo !== NO_SERVER)', replace: 'if (leaseTicks === 0)' },
    { file: 'lease.js', find: 'leader.leaseAfter = Number.MAX_SAFE_INTEGER;', replace: '' },
  ],
  // A server that has just started has heard nobody, so it promises nothing.
  'starts-free': [{ file: 'start.js', find: 'leaderHeardAt: 0', replace: 'leaderHeardAt: -options.electionTicks' }],
  // A1: a vote leaves before it is durable.
  'votes-early': [
    {
      file: 'lane.js',
      find: 'if (hardStateDurable(state.lane))\n        state.outbox.push(message);',
      replace: 'if (true)\n        state.outbox.push(message);',
    },
  ],
  // Trap A38: while joint, the new majority alone decides.
  'one-majority': [
    { file: 'membership.js', find: 'if (configuration.outgoing === null)\n        return incoming;', replace: 'return incoming;' },
    { file: 'membership.js', find: 'majorityAmong(configuration.voters, yes) && (', replace: 'majorityAmong(configuration.voters, yes) && (true || ' },
  ],
  // Trap A35: a configuration is in effect when it is committed, not when it is appended.
  'late-configuration': [
    {
      file: 'history.js',
      find: 'state.configurations.push({ index, configuration });\n    state.configuration = configuration;',
      replace: 'state.configurations.push({ index, configuration });',
    },
    {
      file: 'commit.js',
      find: 'state.commit = index;',
      replace: 'state.commit = index; for (const one of state.configurations) if (one.index <= index) state.configuration = one.configuration;',
    },
  ],
  // Trap A36: a configuration that was cut from the log stays in effect.
  'kept-configuration': [
    {
      file: 'history.js',
      find: 'configurations.pop();\n    state.configuration = newestConfiguration(state).configuration;',
      replace: 'configurations.pop();',
    },
  ],
  // Paper section 6: the next change begins before the one before is committed.
  'two-changes': [{ file: 'change.js', find: 'configuration.outgoing !== null || index > commit', replace: 'configuration.outgoing !== null' }],
  // Trap A34: a new leader takes a change before it knows what is committed.
  'early-change': [{ file: 'change.js', find: 'if (commit < role.first)', replace: 'if (false)' }],
  // No joint configuration at all: straight to the new one.
  'no-joint': [{ file: 'membership.js', find: 'outgoing: waiting.voters', replace: 'outgoing: null' }],
  // raft/repair.ts: a server that has lost what it acknowledged gives its vote all the same.
  'damaged-votes': [
    { file: 'vote.js', find: "if (state.role.name === 'leader' || state.repair !== null)", replace: "if (state.role.name === 'leader')" },
    { file: 'vote.js', find: 'const granted = state.repair === null && ', replace: 'const granted = ' },
  ],
};
