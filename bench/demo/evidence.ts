import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalCluster } from '../../src/cli/local-cluster.js';
import { createHttpCall } from '../../src/client/index.js';
import type { TaskView } from '../../src/protocol/schemas.js';
import type { Evidence, JournalLine, TaskRecord } from './verdict.js';
import { digestOf } from './work.js';

/** Gathers what the verdict needs from a cluster of real processes. */

const PAGE = 1000;

export const recordOf = (task: TaskView): TaskRecord => ({
  id: task.id,
  state: task.state,
  epoch: task.epoch,
  finishedAtMs: task.finishedAtMs,
  sha256: digestOf(task.result),
  attempts: task.attempts.map(({ epoch, nodeId, end }) => ({ epoch, nodeId, end })),
});

/** True when every manager answers and all of them have applied the same. */
export async function sameRevision(cluster: LocalCluster): Promise<boolean> {
  const views = await Promise.all(cluster.addresses.map((address) => cluster.client.clusterOf(address).catch(() => null)));
  return views.every((view) => view !== null && view.revision === views[0]?.revision);
}

/** What each manager answers out of its own state: it asks the leader how far it must have applied, and for nothing else. */
export async function everyView(cluster: LocalCluster): Promise<Evidence['managers']> {
  const call = createHttpCall();
  try {
    return await Promise.all(
      cluster.places.map(async ({ serverId, address }) => {
        const tasks: TaskRecord[] = [];
        let cursor: string | null = null;
        do {
          const query: { limit: number; cursor?: string } = { limit: PAGE, ...(cursor === null ? {} : { cursor }) };
          const page = await call.call(address, 'listTasks', { params: {}, query, body: null }, { timeoutMs: 30_000 });
          if (page.kind !== 'ok')
            throw new Error(`manager ${serverId} could not list its tasks: ${page.kind === 'refused' ? page.problem.detail : page.reason}`);
          for (const task of page.answer.tasks) tasks.push(recordOf(task));
          cursor = page.answer.cursor;
        } while (cursor !== null);
        return { serverId, tasks, succeeded: (await cluster.client.clusterOf(address)).tasks.succeeded };
      }),
    );
  } finally {
    await call.close();
  }
}

/** Every journal in the directory, one file a worker process. */
export function readJournals(directory: string): JournalLine[] {
  return readdirSync(directory).flatMap((file) =>
    readFileSync(join(directory, file), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as JournalLine),
  );
}
