import { connect } from 'node:net';
import type { ServerId } from '../../raft/ids.js';
import { Connection } from './connection.js';
import type { FrameType } from './frames.js';
import { decodeRefusal, decodeWelcome, encodeJson, type Hello, membersDiffer, type Purpose, type RefusalCode, type Welcome } from './handshake.js';
import type { PeerContext } from './peer-context.js';

export interface DialEvents {
  /** The peer is who it should be: write away. */
  linked(connection: Connection): void;
  frame(type: FrameType, payload: Uint8Array): void;
  /** Exactly once, whether it was ever linked or not. `refused`: the peer answered and said no. */
  ended(reason: string, refused: boolean): void;
}

/** Dials `to`, says hello and waits for its welcome. Returns the connection (not yet linked), or null when no address is known. */
export function dial(context: PeerContext, to: ServerId, purpose: Purpose, events: DialEvents): Connection | null {
  const endpoint = context.addressOf(to);
  if (endpoint === null) return null;
  let linked = false;
  let refused = false;
  let release: (() => void) | null = null;
  const where = `${endpoint.host}:${endpoint.port}`;

  const refuse = (reason: string, text: string): void => {
    refused = true;
    context.log.log(`dial:${to}:${reason}`, 'warn', `server ${to} at ${where} and this one do not go together (${reason}): ${text}`, {
      peer: to,
      code: reason,
    });
    connection.close(reason);
  };

  /** What is wrong with the answer, as a code and a text. */
  const misfit = (welcome: Welcome | null): readonly [string, string] | null => {
    if (welcome === null) return ['badWelcome', 'its answer to the handshake cannot be read'];
    if (welcome.clusterId !== context.clusterId)
      return ['wrongCluster', `it belongs to cluster ${welcome.clusterId}, this one to ${context.clusterId}: check --member`];
    if (welcome.serverId !== to) return ['wrongServer', `server ${welcome.serverId} answers there: check --member`];
    const differ = membersDiffer(context.self, context.memberList, to, welcome);
    if (differ !== null) return ['membersDiffer', differ];
    const refusal = meet(context, to, welcome.incarnation);
    if (refusal === null) release = context.incarnations.hold(to);
    return refusal;
  };

  const welcomed = (payload: Uint8Array): void => {
    const wrong = misfit(decodeWelcome(payload));
    if (wrong !== null) {
      refuse(...wrong);
      return;
    }
    linked = true;
    deadline.cancel();
    connection.trust();
    events.linked(connection);
  };

  const connection = new Connection(connect({ host: endpoint.host, port: endpoint.port, noDelay: true }), {
    frame: (type, payload) => {
      if (linked) events.frame(type, payload);
      else if (type === 'welcome') welcomed(payload);
      else if (type === 'refusal') {
        const refusal = decodeRefusal(payload);
        refuse(refusal.code, refusal.text);
      } else connection.close('badWelcome');
    },
    fault: (fault) => {
      if (!linked) refuse(fault, 'what answers there does not speak this protocol: check --member and the versions');
      else connection.close(fault);
    },
    closed: (reason) => {
      deadline.cancel();
      release?.();
      context.connections.delete(connection);
      events.ended(reason, refused);
    },
  });
  context.connections.add(connection);
  const deadline = context.clock.after(context.limits.handshakeMs, () => connection.close('handshakeTimeout'));
  const hello: Hello = { purpose, clusterId: context.clusterId, from: context.self, to, incarnation: context.incarnation, ...context.memberList };
  connection.write('hello', [encodeJson(hello)]);
  return connection;
}

/** Null, or why this incarnation may not come in now, as a code and a text. Says loudly when a peer came back with another one. */
export function meet({ incarnations, log }: PeerContext, server: ServerId, incarnation: string): readonly [RefusalCode, string] | null {
  const verdict = incarnations.check(server, incarnation);
  if (verdict === 'alive') return ['incarnationChanged', `another incarnation of server ${server} is still connected: two processes with one id?`];
  if (verdict === 'replaced') {
    const text =
      `server ${server} has come with an older data directory than it had before (incarnation ${incarnation}): what it has promised since is not in it. ` +
      'Start it on the newer one, or on an empty one';
    return ['incarnationReplaced', text];
  }
  if (verdict === 'changed') {
    log.log(
      `incarnation:${server}`,
      'error',
      `server ${server} came back with another data directory (incarnation ${incarnation}): what it had voted and ` +
        'acknowledged is gone. If its directory was wiped, acknowledged writes may be at risk until it has caught up: do not wipe a second one',
      { peer: server, incarnation },
    );
  }
  try {
    incarnations.meet(server, incarnation);
  } catch (error) {
    log.log('peer-book', 'error', `the incarnation of server ${server} could not be written down: ${(error as Error).message}`, { peer: server });
  }
  return null;
}
