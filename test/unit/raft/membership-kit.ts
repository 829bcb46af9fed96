import type { Test } from 'tap';
import { type Configuration, type Entry, encodeConfiguration, plainConfiguration } from '../../../raft/index.js';
import { ix, OPTIONS, sid, tm } from './network.js';
import { Solo, type SoloStart } from './solo.js';

export const T = OPTIONS.electionTicks;
export const ids = (...servers: number[]) => servers.map(sid);
export const of = (...servers: number[]): Configuration => plainConfiguration(ids(...servers));
export const joint = (outgoing: number[], incoming: number[], learners: number[] = []): Configuration => ({
  ...of(...incoming),
  outgoing: ids(...outgoing),
  learners: ids(...learners),
});
export const configurationEntry = (index: number, term: number, configuration: Configuration): Entry => ({
  index: ix(index),
  term: tm(term),
  kind: 'configuration',
  data: encodeConfiguration(configuration),
});
export const target = (...servers: number[]) => ({ voters: ids(...servers), learners: [], witnesses: [] });
export const appendEntries = (solo: Solo, from: number, term: number, prevIndex: number, prevTerm: number, entries: Entry[], commit = 0) =>
  solo.hear(from, { type: 'appendRequest', term, prevIndex, prevTerm, commit, entries });
export const change = (solo: Solo, ...servers: number[]) => solo.step({ type: 'changeMembership', target: target(...servers) });
export const voteOf = (server: number): SoloStart => ({ id: server, eager: true });

/** 1 leads 1, 2, 3 in term 1 with its noop committed; 4 is a learner that holds everything. */
export function withLearner(t: Test): Solo {
  const solo = Solo.leading({ eager: true });
  t.match(solo.step({ type: 'changeMembership', target: { voters: ids(1, 2, 3), learners: ids(4), witnesses: [] } }), { code: 'proposed', first: 2 });
  solo.accept(2, 2);
  t.match(solo.raft.status(), { commit: 2, configuration: { voters: [1, 2, 3], outgoing: null, learners: [4] } });
  solo.accept(4, 2);
  solo.sent.length = 0;
  return solo;
}
