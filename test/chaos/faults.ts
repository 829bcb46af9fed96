import type { LocalCluster } from '../../src/cli/local-cluster.js';
import type { Told } from './ask.js';
import type { Links } from './links.js';
import { Pipeline } from './pipeline.js';

/**
 * What goes wrong, one thing at a time. Nothing here waits for a time: each fault goes on until it has shown what it is there for (another manager leads,
 * so many operations were acknowledged without the one that is away), and is over when that one has answered again.
 */
export const FAULTS = ['strandedLeader', 'cutLeader', 'sleepingLeader', 'killLeader', 'killFollower', 'sleepingFollower', 'cutFollower'] as const;
export type Fault = (typeof FAULTS)[number];

/** The one that may lie, and what the others do meanwhile: as the run sees it. */
export interface Stage {
  readonly cluster: LocalCluster;
  readonly links: Links;
  /** Who leads, of these: waits for it. This and all other waits throw when nothing comes of it for long, and say what was seen. */
  leaderAmong(serverIds: readonly number[]): Promise<number>;
  /** Waits until these managers together have answered so many more operations. */
  acknowledged(count: number, serverIds: readonly number[]): Promise<void>;
  /** A new task that one of these is sure to have acknowledged when this resolves. */
  submitted(serverIds: readonly number[]): Promise<string>;
  /** A linearizable read at this manager, over this connection or one of its own. Its answer is in the history. Without an id: of some task. */
  read(serverId: number, pipeline: Pipeline | null, id: string | null): Promise<Told>;
  /** A whole number from 0 to `below` - 1. */
  random(below: number): number;
}

const READS_ON_WAKING = 12;
/** Operations that the others acknowledge while one is away: at least so many, and up to so many more. */
const MEANWHILE = 10;
const MEANWHILE_MORE = 60;

/** Gives how many reads the manager has answered for which it was not up to date when they reached it. */
export async function strike(stage: Stage, fault: Fault): Promise<number> {
  const { cluster } = stage;
  const all = cluster.places.map((place) => place.serverId);
  const leader = await stage.leaderAmong(all);
  const followers = all.filter((id) => id !== leader);
  const serverId = fault.endsWith('Leader') ? leader : (followers[stage.random(followers.length)] as number);
  const others = all.filter((id) => id !== serverId);
  let tested = 0;
  switch (fault) {
    case 'killLeader':
    case 'killFollower':
      await kill(stage, serverId, others);
      break;
    case 'cutLeader':
    case 'cutFollower':
      await cut(stage, serverId, others);
      break;
    case 'sleepingLeader':
    case 'sleepingFollower':
      tested = await sleep(stage, serverId, others, false);
      break;
    case 'strandedLeader':
      tested = await sleep(stage, serverId, others, true);
      break;
  }
  await stage.acknowledged(1, [serverId]);
  return tested;
}

const meanwhile = async (stage: Stage, others: readonly number[]): Promise<void> => {
  await stage.leaderAmong(others);
  await stage.acknowledged(MEANWHILE + stage.random(MEANWHILE_MORE), others);
};

async function kill(stage: Stage, serverId: number, others: readonly number[]): Promise<void> {
  const { cluster } = stage;
  const child = cluster.managers.get(serverId);
  if (child === undefined) throw new Error(`manager ${serverId} was never started`);
  await cluster.kill(child);
  // Now and then it is back before anybody has missed it.
  if (stage.random(4) > 0) await meanwhile(stage, others);
  await cluster.startManager(serverId).ready;
}

async function cut(stage: Stage, serverId: number, others: readonly number[]): Promise<void> {
  stage.links.cut(serverId);
  try {
    await meanwhile(stage, others);
    const id = await stage.submitted(others);
    await Promise.all([id, id, null].map((each) => stage.read(serverId, null, each)));
  } finally {
    stage.links.heal();
  }
}

/**
 * Asleep, a leader does not know that there is another one; something new is acknowledged by the others, and reads of it stand in its socket when it wakes.
 * `cutOff`: nor does it hear of it before these are answered, so that nothing but the rounds of its reads can save it.
 */
async function sleep(stage: Stage, serverId: number, others: readonly number[], cutOff: boolean): Promise<number> {
  const { cluster, links } = stage;
  const child = cluster.managers.get(serverId);
  if (child === undefined) throw new Error(`manager ${serverId} was never started`);
  const pipeline = new Pipeline(cluster.addressOf(serverId));
  const late: Promise<Told>[] = [];
  await stage.read(serverId, pipeline, null);
  if (cutOff) links.cut(serverId);
  child.signal('SIGSTOP');
  try {
    // The first in its socket: it comes before what the others have to say.
    late.push(stage.read(serverId, pipeline, null));
    await meanwhile(stage, others);
    const id = await stage.submitted(others);
    for (let at = 0; at < READS_ON_WAKING; at += 1) late.push(stage.read(serverId, pipeline, at % 3 === 2 ? null : id));
    await pipeline.flushed();
    child.signal('SIGCONT');
    await Promise.all(late);
  } finally {
    child.signal('SIGCONT');
    links.heal();
    pipeline.close();
  }
  return late.length;
}
