import type { Message } from '../../raft/index.js';
import type { Found } from './explore.js';
import { keyOf, type Parcel, type Server, showKey } from './server.js';
import type { Action, World } from './world.js';

/** A violation in words: one line for what happened, one for each server it changed. */
export function story(found: Found): string {
  const lines = [`BROKEN  ${found.text}`, '', `The shortest way there, ${found.path.length} steps:`];
  const first = found.path[0]?.world;
  if (first !== undefined) for (const server of first.servers) lines.push(`        ${serverLine(server)}`);
  found.path.forEach(({ action, world }, at) => {
    lines.push(`${String(at + 1).padStart(4)}  ${actionLine(action, world)}`);
    const after = found.path[at + 1]?.world.servers[action.server - 1];
    if (after !== undefined && after !== world.servers[action.server - 1]) lines.push(`        ${serverLine(after)}`);
  });
  lines.push(`      here: ${found.text}`);
  return lines.join('\n');
}

function serverLine(server: Server): string {
  const { hardState, base } = server.disk;
  const status = server.core.status();
  const disk = `disk: term ${hardState.term} vote ${hardState.vote} log ${logWords(server.disk.keys, base.index)}`;
  const orders = server.orders.length === 0 ? '' : `, ${server.orders.length} orders under way`;
  return `server ${server.id}: ${status.role}, term ${status.term}, vote ${status.vote}, log ${logWords(server.log, base.index)}, commit ${status.commit} | ${disk}${orders}`;
}

function logWords(keys: readonly number[], base: number): string {
  return `[${keys.map((key, at) => (at + 1 === base ? `${showKey(key)} |` : showKey(key))).join(' ')}]`;
}

function actionLine(action: Action, world: World): string {
  switch (action.type) {
    case 'persist': {
      const all = world.servers[action.server - 1]?.orders.length;
      return `the disk of ${action.server} finishes ${action.count === all ? 'all its orders' : `${action.count} of ${all} orders`}`;
    }
    case 'elections':
      return `server ${action.server} starts an election`;
    case 'silences':
      return `server ${action.server} hears nothing for an election timeout`;
    case 'proposals':
      return `server ${action.server} is given command ${String.fromCharCode(97 + world.ledger.proposals)}`;
    case 'reads':
      return `server ${action.server} is asked for a read`;
    case 'heartbeats':
      return `server ${action.server} sends heartbeats`;
    case 'ticks':
      return `a tick passes for server ${action.server}`;
    case 'compactions':
      return `server ${action.server} compacts its log`;
    case 'crash':
      return `server ${action.server} crashes and starts again; ${action.kept} of its ${world.servers[action.server - 1]?.orders.length} orders under way were on the disk`;
    case 'deliver':
      return `${parcelWords(action.parcel)}${action.keep ? ', and will come once more' : ''}`;
    case 'break':
      return `the stream of the snapshot from ${action.server} to ${action.parcel.message.to} breaks`;
    case 'transfers':
      return `server ${action.server} is told to hand leadership over to ${action.argument}`;
    case 'changes':
      return `server ${action.server} is asked for membership change ${action.argument}`;
    case 'damages':
      return `server ${action.server} crashes, and its disk has lost all behind entry ${action.argument}`;
    default:
      throw new Error(`model: no words for ${action.type}`);
  }
}

function parcelWords(parcel: Parcel): string {
  const { message } = parcel;
  const way = `${message.from} -> ${message.to}`;
  if (parcel.kind === 'sent') return `${way} the snapshot ${parcel.ok ? 'arrived' : 'did not arrive'}`;
  return `${way} ${messageWords(message)}`;
}

/** A message as people write it; for the traces and for the scenario scripts. */
export function messageWords(message: Message, showEntry: (entry: Parameters<typeof keyOf>[0]) => string = (entry) => showKey(keyOf(entry))): string {
  const { term } = message;
  switch (message.type) {
    case 'preVoteRequest':
      return `would you vote for me in term ${term}? my log ends at ${message.lastIndex} of term ${message.lastTerm}`;
    case 'preVoteResponse':
      return `${message.granted ? 'I would' : 'I would not'} (term ${term})`;
    case 'voteRequest':
      return `${message.transfer ? 'the leader wants me to follow it: ' : ''}vote for me in term ${term}; my log ends at ${message.lastIndex} of term ${message.lastTerm}`;
    case 'voteResponse':
      return `${message.granted ? 'my vote is yours' : 'no vote for you'} (term ${term})`;
    case 'appendRequest': {
      const entries = message.entries.length === 0 ? 'nothing' : message.entries.map(showEntry).join(' ');
      return `append ${entries} behind ${message.prevIndex} of term ${message.prevTerm}, commit ${message.commit} (term ${term})`;
    }
    case 'appendResponse':
      return message.accepted
        ? `I hold your log up to ${message.matchIndex} (term ${term})`
        : `I do not hold ${message.refusedIndex}; we may agree at ${message.hintIndex} of term ${message.hintTerm} (term ${term})`;
    case 'heartbeat':
      return `heartbeat ${message.round}, commit ${message.commit} (term ${term})`;
    case 'heartbeatResponse':
      return `heartbeat ${message.round} heard (term ${term})`;
    case 'installSnapshot':
      return `the state at ${message.snapshot.index} of term ${message.snapshot.term} (term ${term})`;
    case 'timeoutNow':
      return `take over (term ${term})`;
    case 'readIndexRequest':
      return `a read index, please (term ${term})`;
    case 'readIndexResponse':
      return message.granted ? `read at ${message.index} (term ${term})` : `no read index (term ${term})`;
    case 'tailLost':
      return `my disk has lost what I had said to hold; it ends at ${message.lastIndex} (term ${term})`;
  }
}
