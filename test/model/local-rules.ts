import { configurationOf, isCommand, isOmitted, newestConfiguration, type Server, showConfiguration, showKey, termOf } from './server.js';

/** What one server alone must never show. `from` null: it has just started. */
export function localFault(from: Server | null, to: Server, witness: boolean): string | null {
  if (to.core.lastIndex !== to.log.length) return `write orders: the core's log ends at ${to.core.lastIndex}, its orders make ${to.log.length}`;
  const { hardState } = to.disk;
  if (to.leads && (hardState.term !== to.term || hardState.vote !== to.id)) {
    return `durable vote before leading: server ${to.id} leads term ${to.term}, its disk holds term ${hardState.term}, vote ${hardState.vote}`;
  }
  if (to.commit > to.log.length) return `commit within the log: server ${to.id} has committed ${to.commit} of ${to.log.length}`;
  if (to.machine.length > to.disk.keys.length)
    return `applied is durable: server ${to.id} applied ${to.machine.length}, its disk ends at ${to.disk.keys.length}`;
  const newest = newestConfiguration(to.log.slice(to.disk.base.index), to.disk.base.configuration);
  const inEffect = showConfiguration(to.core.status().configuration);
  // An order that installs a snapshot is not on the disk yet: then the log does not say it.
  if (to.orders.every(({ state }) => state === null) && showConfiguration(newest) !== inEffect) {
    return `a configuration is in effect from when it is appended until it is cut: server ${to.id} goes by ${inEffect}, its log says ${showConfiguration(newest)}`;
  }
  const wrong = [...to.log, ...to.disk.keys].find(witness ? isCommand : isOmitted);
  if (wrong !== undefined) return `a witness holds no data, and nobody else is without: server ${to.id} holds ${showKey(wrong)}`;
  if (witness && to.role !== 'follower') return `a witness never campaigns: server ${to.id} is a ${to.role}`;
  if (from === null) return null;
  if (to.term < from.term) return `terms never fall: server ${to.id} had ${from.term}, has ${to.term}`;
  if (to.term === from.term && from.vote !== 0 && to.vote !== from.vote)
    return `one vote in a term: server ${to.id}, term ${to.term}: ${from.vote}, then ${to.vote}`;
  if (to.commit < from.commit) return `commit never falls: server ${to.id} had ${from.commit}, has ${to.commit}`;
  if (from.leads && to.leads && from.term === to.term && from.log.some((key, at) => to.log[at] !== key)) {
    return `leader append-only: server ${to.id}, term ${to.term}: ${from.log.map(showKey).join(' ')} became ${to.log.map(showKey).join(' ')}`;
  }
  return from.leads && to.leads ? changeFault(from, to) : null;
}

/** Thesis 4.1 and its erratum (trap A34): one change at a time, and none before the leader has committed an entry of its own term. */
function changeFault(from: Server, to: Server): string | null {
  const own = to.log.findIndex((key) => termOf(key) === to.term);
  let open = 0;
  for (let at = to.commit; at < to.log.length; at += 1) {
    const key = to.log[at] as number;
    if (configurationOf(key) === null || termOf(key) !== to.term) continue;
    open += 1;
    if (at >= from.log.length && to.commit <= own)
      return `no change before a commit in the own term: server ${to.id} appended ${showKey(key)}, commit is ${to.commit}`;
  }
  return open > 1 ? `one change at a time: server ${to.id} has ${to.log.map(showKey).join(' ')}, commit is ${to.commit}` : null;
}
