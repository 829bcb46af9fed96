/** The peers' load processes, in bench/peers (their packages are not ours). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../test/package-root.js';
import { Remote } from './processes.js';

const folder = join(packageRoot(), 'bench', 'peers');
export const peersInstalled = (): boolean => existsSync(join(folder, 'node_modules', '.package-lock.json'));

/** Null where `make bench` did not install the peers' packages. */
export function peer<Request, Answer>(script: 'bullmq.mjs' | 'etcd-grpc.mjs'): Remote<Request, Answer> | null {
  if (!peersInstalled()) return null;
  return new Remote<Request, Answer>(process.execPath, [join(folder, script)], folder);
}
