import type { ClusterState } from '../cluster/state.js';

/** Cluster time (`atMs`) at which the earliest backoff is over: a `tick` is due then. Null: nothing waits. */
export const nextDueMs = (state: ClusterState): number | null => state.queues.delayed.items[0]?.notBeforeMs ?? null;
