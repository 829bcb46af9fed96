import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

/** A way to one manager on which calls, or their answers, can be held up. Whoever comes through it learns no other way. */
export interface Door {
  readonly address: string;
  /** Calls that came so far, as `POST /v1/tasks`. */
  readonly came: readonly string[];
  /** Calls like this wait at the door. */
  hold(call: RegExp): void;
  /** Calls like this go through; their answers wait at the door. */
  holdAnswers(call: RegExp): void;
  release(): void;
}

export async function openDoor(t: Test, manager: string): Promise<Door> {
  const came: string[] = [];
  let held: { readonly call: RegExp | null; readonly answer: RegExp | null } = { call: null, answer: null };
  let open: () => void = () => {};
  let opened = Promise.resolve();
  const hold = (next: typeof held): void => {
    held = next;
    opened = new Promise((resolve) => {
      open = resolve;
    });
  };
  const server = createServer(async (incoming, outgoing) => {
    const call = `${incoming.method} ${incoming.url}`;
    const { held: now, until } = { held, until: opened };
    const body = await textOf(incoming);
    came.push(call);
    if (now.call?.test(call) === true) await until;
    const { host: _, 'content-length': __, ...headers } = incoming.headers;
    const onward = request(manager + incoming.url, { method: incoming.method, headers, agent: false }, async (answer) => {
      const text = (await textOf(answer)).replaceAll(manager, door.address);
      if (now.answer?.test(call) === true) await until;
      outgoing.writeHead(answer.statusCode ?? 500, { 'content-type': answer.headers['content-type'] ?? 'application/json' }).end(text);
    });
    onward.on('error', () => outgoing.destroy());
    onward.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    open();
    server.closeAllConnections();
    server.close();
  });
  const door: Door = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    came,
    hold: (call) => hold({ call, answer: null }),
    holdAnswers: (answer) => hold({ call: null, answer }),
    release: () => open(),
  };
  return door;
}

async function textOf(message: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
