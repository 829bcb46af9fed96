import { QuorateError } from '../protocol/errors.js';
import type { Member } from './config.js';

/** Who has to ask elsewhere, or again. Nothing was taken. */
export function noLeaderError(leader: Member | null): QuorateError {
  const where = leader === null ? 'no leader is known here; an election takes about a second' : `manager ${leader.serverId} at ${leader.api} leads`;
  return new QuorateError('noLeader', `this manager does not lead: ${where}; nothing was taken, send it again`, 200);
}

export const stoppingError = (): QuorateError => new QuorateError('shuttingDown', 'this manager does not serve any more; ask another one');
