/**
 * A closed-loop HTTP load: `clients` keep-alive connections, each sends its next POST when the last answer is whole. On bare sockets, because a
 * full client costs as much CPU as the server it measures, on the same two cores; the same generator drives every HTTP peer. A process of its own.
 */
import { connect, type Socket } from 'node:net';
import { serve } from './processes.js';

export interface HttpLoad {
  /** Base URL. */
  readonly address: string;
  readonly kind: 'quorate' | 'quorateArray' | 'etcdPut' | 'etcdTxn';
  readonly clients: number;
  readonly seconds: number;
  /** Operations in one request (arrays and transactions). */
  readonly batch: number;
  /** Distinguishes ids of different windows. */
  readonly tag: string;
}
export interface LoadResult {
  readonly requests: number;
  readonly operations: number;
  readonly errors: number;
  readonly firstError: string;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const task = (id: string): string =>
  `{"id":"${id}","run":{"type":"handler","name":"noop","input":{"path":"/srv/images/2026/11/${id}.jpg","width":1280,"height":720,"format":"webp","owner":"customer-4711"}}}`;
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const put = (id: string): string => `{"key":"${base64(id)}","value":"${base64(task(id))}"}`;

const PATH = { quorate: '/v1/tasks', quorateArray: '/v1/tasks', etcdPut: '/v3/kv/put', etcdTxn: '/v3/kv/txn' } as const;

function bodyOf(load: HttpLoad, first: number): string {
  const ids = Array.from({ length: load.batch }, (_, at) => `${load.tag}-${first + at}`);
  if (load.kind === 'quorate') return task(ids[0] as string);
  if (load.kind === 'quorateArray') return `[${ids.map(task).join(',')}]`;
  if (load.kind === 'etcdPut') return put(ids[0] as string);
  return `{"success":[${ids.map((id) => `{"requestPut":${put(id)}}`).join(',')}]}`;
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export function runHttpLoad(load: HttpLoad): Promise<LoadResult> {
  const url = new URL(load.address);
  const head = `POST ${PATH[load.kind]} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: application/json\r\nContent-Length: `;
  const latencies: number[] = [];
  let next = 0;
  let errors = 0;
  let firstError = '';
  const started = performance.now();
  const until = started + load.seconds * 1000;
  const client = (): Promise<void> =>
    new Promise((resolve) => {
      let sentAt = 0;
      let pending: Buffer | null = null;
      const socket: Socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
      const send = (): void => {
        sentAt = performance.now();
        if (sentAt >= until) {
          socket.destroy();
          resolve();
          return;
        }
        const body = bodyOf(load, next);
        next += load.batch;
        socket.write(`${head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
      };
      socket.once('connect', send);
      socket.on('data', (chunk) => {
        const data = pending === null ? chunk : Buffer.concat([pending, chunk]);
        const headEnd = data.indexOf('\r\n\r\n');
        if (headEnd < 0) {
          pending = data;
          return;
        }
        const header = data.toString('latin1', 0, headEnd);
        const length = Number(/content-length: (\d+)/i.exec(header)?.[1] ?? Number.NaN);
        const whole = Number.isNaN(length) ? data.subarray(-5).toString('latin1') === '0\r\n\r\n' : data.length >= headEnd + 4 + length;
        if (!whole) {
          pending = data;
          return;
        }
        pending = null;
        if (header.startsWith('HTTP/1.1 20')) latencies.push(performance.now() - sentAt);
        else {
          errors += 1;
          if (firstError === '') firstError = data.toString('utf8').slice(0, 500);
        }
        send();
      });
      socket.once('error', (error) => {
        errors += 1;
        if (firstError === '') firstError = error.message;
        resolve();
      });
      socket.once('close', () => resolve());
    });
  return Promise.all(Array.from({ length: load.clients }, client)).then(() => {
    const seconds = (performance.now() - started) / 1000;
    const sorted = [...latencies].sort((a, b) => a - b);
    return {
      requests: latencies.length,
      operations: latencies.length * load.batch,
      errors,
      firstError,
      seconds,
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
    };
  });
}

if (process.argv[1] === import.meta.filename && process.send !== undefined) serve<HttpLoad, LoadResult>(runHttpLoad);
