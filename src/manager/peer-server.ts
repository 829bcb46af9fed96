import { createServer, type Server, type Socket } from 'node:net';
import { decodeMessage } from '../../raft/codec.js';
import type { ServerId } from '../../raft/ids.js';
import type { Message } from '../../raft/message.js';
import { Connection } from './connection.js';
import { meet } from './dial.js';
import type { FrameType } from './frames.js';
import { decodeHello, encodeJson, type Hello, membersDiffer, type RefusalCode } from './handshake.js';
import type { Endpoint, PeerContext } from './peer-context.js';
import { SnapshotReceiver } from './snapshot-stream.js';

/** The way in: who connects must say who it is, in time and in few bytes, before anything else is read. */
export class PeerServer {
  readonly #context: PeerContext;
  readonly #heard: (from: ServerId) => void;
  readonly #server: Server;
  readonly #strangers = new Set<Connection>();
  /** The newest of each kind per peer: an older one is ended when the peer comes again. */
  readonly #messages = new Map<ServerId, Connection>();
  readonly #snapshots = new Map<ServerId, Connection>();
  #closing = false;

  /** `heard`: a peer has come in, so it can be dialled. */
  constructor(context: PeerContext, heard: (from: ServerId) => void) {
    this.#context = context;
    this.#heard = heard;
    this.#server = createServer({ noDelay: true, pauseOnConnect: false }, (socket) => this.#accept(socket));
  }

  /** Rejects with the socket's error (EADDRINUSE, EACCES, ...). */
  listen(at: Endpoint): Promise<Endpoint> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host: at.host, port: at.port, backlog: 128 }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#context.log.log('accept', 'error', `the peer port has an error: ${error.message}`));
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? { host: address.address, port: address.port } : at);
      });
    });
  }

  /** No one comes in any more. Connections are ended by the owner of `context.connections`. */
  close(): Promise<void> {
    this.#closing = true;
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  get connected(): number {
    return this.#messages.size;
  }

  #accept(socket: Socket): void {
    const context = this.#context;
    if (this.#closing || this.#strangers.size >= context.limits.strangersMax) {
      socket.on('error', () => {});
      this.#count('tooManyStrangers', `${socket.remoteAddress ?? '?'}`, 'too many connections that have not said who they are');
      socket.destroy();
      return;
    }
    let hello: Hello | null = null;
    let release: (() => void) | null = null;
    let receiver: SnapshotReceiver | null = null;
    const connection: Connection = new Connection(socket, {
      frame: (type, payload) => {
        if (hello === null) {
          hello = this.#greet(connection, type, payload);
          if (hello === null) return;
          deadline.cancel();
          release = context.incarnations.hold(hello.from);
          if (hello.purpose === 'snapshot') receiver = new SnapshotReceiver(context, hello.from, connection);
          this.#heard(hello.from);
        } else if (receiver !== null) receiver.frame(type, payload);
        else if (type === 'message') this.#message(connection, hello.from, payload);
        else this.#end(connection, 'unexpectedFrame', `a ${type} frame where messages are expected`);
      },
      fault: (fault) => {
        if (hello === null && (fault === 'badMagic' || fault === 'version')) {
          this.#refuse(
            connection,
            fault,
            fault === 'version'
              ? 'another version of the peer protocol is spoken here'
              : 'this is the peer port of a quorate manager; the API is on another port',
          );
        } else this.#end(connection, fault, hello === null ? 'in its handshake' : `from server ${hello.from}`);
      },
      closed: (reason) => {
        deadline.cancel();
        release?.();
        receiver?.ended(reason);
        context.connections.delete(connection);
        if (this.#strangers.delete(connection) && reason === 'closed') this.#count('noHandshake', connection.remote, 'it left before it had said who it is');
        for (const map of [this.#messages, this.#snapshots]) if (hello !== null && map.get(hello.from) === connection) map.delete(hello.from);
      },
    });
    const deadline = context.clock.after(context.limits.handshakeMs, () => this.#end(connection, 'handshakeTimeout', 'it did not say in time who it is'));
    this.#strangers.add(connection);
    context.connections.add(connection);
  }

  /** Null: refused. */
  #greet(connection: Connection, type: FrameType, payload: Uint8Array): Hello | null {
    const { clusterId, self, peers, incarnation, memberList } = this.#context;
    const hello = type === 'hello' ? decodeHello(payload) : null;
    if (hello === null) return this.#refuse(connection, 'badHello', 'the handshake cannot be read');
    if (this.#closing) return this.#refuse(connection, 'shuttingDown', `server ${self} is shutting down`);
    if (hello.clusterId !== clusterId)
      return this.#refuse(connection, 'wrongCluster', `this is cluster ${clusterId}, not ${hello.clusterId}: check --cluster and --member`);
    if (hello.to !== self) return this.#refuse(connection, 'wrongServer', `this is server ${self}, not ${hello.to}: check --member`);
    if (!peers.includes(hello.from)) return this.#refuse(connection, 'unknownPeer', `server ${hello.from} is no member here: check --id and --member`);
    const differ = membersDiffer(self, memberList, hello.from, hello);
    if (differ !== null) return this.#refuse(connection, 'membersDiffer', differ);
    const refusal = meet(this.#context, hello.from, hello.incarnation);
    if (refusal !== null) return this.#refuse(connection, ...refusal);
    this.#strangers.delete(connection);
    const map = hello.purpose === 'messages' ? this.#messages : this.#snapshots;
    map.get(hello.from)?.close('replaced');
    map.set(hello.from, connection);
    connection.trust();
    connection.write('welcome', [encodeJson({ clusterId, serverId: self, incarnation, ...memberList })]);
    return hello;
  }

  #message(connection: Connection, from: ServerId, payload: Uint8Array): void {
    const { stats, self, events } = this.#context;
    let message: Message;
    try {
      message = decodeMessage(payload);
    } catch (error) {
      this.#end(connection, 'badMessage', `a message of server ${from} cannot be read: ${(error as Error).message}`);
      return;
    }
    if (message.from !== from || message.to !== self) {
      this.#end(connection, 'wrongSender', `server ${from} sent a message from ${message.from} to ${message.to}`);
      return;
    }
    stats.messagesReceived += 1;
    stats.bytesReceived += payload.length;
    events.message(message);
  }

  #refuse(connection: Connection, code: RefusalCode, text: string): null {
    this.#count(code, connection.remote, text);
    connection.write('refusal', [encodeJson({ code, text })]);
    connection.finish(code);
    return null;
  }

  #end(connection: Connection, reason: string, text: string): void {
    this.#count(reason, connection.remote, text);
    connection.close(reason);
  }

  #count(reason: string, remote: string, text: string): void {
    const { rejected } = this.#context.stats;
    rejected[reason] = (rejected[reason] ?? 0) + 1;
    this.#context.log.log(`rejected:${reason}`, 'warn', `a connection on the peer port was refused (${reason}): ${text}`, { remote, code: reason });
  }
}
