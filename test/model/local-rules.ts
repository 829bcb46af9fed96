import { type Server, showKey } from './server.js';

/** What one server alone must never show. `from` null: it has just started. */
export function localFault(from: Server | null, to: Server): string | null {
  if (to.core.lastIndex !== to.log.length) return `write orders: the core's log ends at ${to.core.lastIndex}, its orders make ${to.log.length}`;
  const { hardState } = to.disk;
  if (to.leads && (hardState.term !== to.term || hardState.vote !== to.id)) {
    return `durable vote before leading: server ${to.id} leads term ${to.term}, its disk holds term ${hardState.term}, vote ${hardState.vote}`;
  }
  if (to.commit > to.log.length) return `commit within the log: server ${to.id} has committed ${to.commit} of ${to.log.length}`;
  if (to.machine.length > to.disk.keys.length)
    return `applied is durable: server ${to.id} applied ${to.machine.length}, its disk ends at ${to.disk.keys.length}`;
  if (from === null) return null;
  if (to.term < from.term) return `terms never fall: server ${to.id} had ${from.term}, has ${to.term}`;
  if (to.term === from.term && from.vote !== 0 && to.vote !== from.vote)
    return `one vote in a term: server ${to.id}, term ${to.term}: ${from.vote}, then ${to.vote}`;
  if (to.commit < from.commit) return `commit never falls: server ${to.id} had ${from.commit}, has ${to.commit}`;
  if (from.leads && to.leads && from.term === to.term && from.log.some((key, at) => to.log[at] !== key)) {
    return `leader append-only: server ${to.id}, term ${to.term}: ${from.log.map(showKey).join(' ')} became ${to.log.map(showKey).join(' ')}`;
  }
  return null;
}
