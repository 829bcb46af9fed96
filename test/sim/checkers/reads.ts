import type { TaskView } from '../../../src/protocol/schemas.js';
import { fail } from '../failure.js';
import { canonical } from './ledger.js';

/** One value that a task had: from `revision` on. text: the view as JSON; null: there was no such task from then on. */
interface Version {
  readonly revision: number;
  readonly text: string | null;
  readonly state: string;
}

/**
 * Linearizable reads, per task: what a read saw must be a value that the task had at some moment between the read's start and its end.
 * `committed` is the commit index that some manager knew at a moment; a ReadIndex read that starts then may see nothing older.
 */
export class ReadChecker {
  readonly stats = { reads: 0, notFound: 0, waited: 0 };
  readonly #versions = new Map<string, Version[]>();

  /** Every change, in order of revision. */
  changed(id: string, revision: number, view: TaskView | null): void {
    let versions = this.#versions.get(id);
    if (versions === undefined) {
      versions = [];
      this.#versions.set(id, versions);
    }
    const version = { revision, text: view === null ? null : JSON.stringify(view), state: view?.state ?? 'gone' };
    const last = versions[versions.length - 1];
    if (last !== undefined && last.revision >= revision) {
      if (last.revision === revision && last.text === version.text) return;
      fail('records', `${id} changed from ${last.state} to ${version.state} without a new revision: ${last.revision}, then ${revision}`);
    }
    versions.push(version);
  }

  /** A linearizable answer. Null: taskNotFound. */
  saw(id: string, view: TaskView | null, committedAtStart: number, committedAtEnd: number, who: string): void {
    this.stats.reads++;
    const versions = this.#versions.get(id) ?? [];
    let newest: Version | null = null;
    for (const version of versions) if (version.revision <= committedAtStart) newest = version;
    if (view === null) {
      this.stats.notFound++;
      if (newest === null || newest.text === null) return;
      if (versions.some((version) => version.text === null && version.revision > committedAtStart && version.revision <= committedAtEnd)) return;
      fail(
        'linearizable reads',
        `${who} was told that there is no ${id}; it was ${newest.state} at revision ${newest.revision}, committed ${committedAtStart} when the read began`,
      );
    } else {
      if (view.revision > committedAtEnd) fail('linearizable reads', `${who} saw ${id} at revision ${view.revision}; committed was ${committedAtEnd}`);
      const seen = versions.find((version) => version.revision === view.revision);
      if (seen === undefined || seen.text === null)
        fail('linearizable reads', `${who} saw ${id} ${view.state} at revision ${view.revision}, where it did not change: ${JSON.stringify(versions)}`);
      if (!same(seen, view))
        fail('linearizable reads', `${who} saw another ${id} at revision ${view.revision} than the log gives: ${JSON.stringify(view).slice(0, 600)}`);
      if (newest !== null && newest.revision > seen.revision)
        fail(
          'linearizable reads',
          `${who} saw ${id} ${view.state} as of ${seen.revision}; it was ${newest.state} at ${newest.revision}, committed ${committedAtStart} when the read began`,
        );
    }
  }

  /** A list of one moment: every task in it as it stood at that revision. */
  sawAt(view: TaskView, revision: number, who: string): void {
    let newest: Version | null = null;
    for (const version of this.#versions.get(view.id) ?? []) if (version.revision <= revision) newest = version;
    if (newest === null || !same(newest, view))
      fail(
        'linearizable reads',
        `${who} saw ${view.id} ${view.state} of ${view.revision} in a list of revision ${revision}; it was ${newest === null ? 'not there' : `${newest.state} of ${newest.revision}`}`,
      );
  }

  /** A list without a filter, of which this is all: whatever was there when the call began, and was not forgotten meanwhile, is in it. */
  sawAll(views: readonly TaskView[], committedAtStart: number, committedAtEnd: number, who: string): void {
    const ids = new Set(views.map(({ id }) => id));
    if (ids.size !== views.length) fail('linearizable reads', `${who} got a list that holds a task twice`);
    for (const [id, versions] of this.#versions) {
      let newest: Version | null = null;
      for (const version of versions)
        if (version.revision <= committedAtStart || (version.text === null && version.revision <= committedAtEnd)) newest = version;
      if (newest !== null && newest.text !== null && !ids.has(id))
        fail(
          'linearizable reads',
          `${who} got a list without ${id}, which was ${newest.state} at revision ${newest.revision}; committed was ${committedAtStart}`,
        );
    }
  }

  /** A stale read: any value it ever had, and (on one connection to one manager) nothing else is promised. */
  sawStale(id: string, view: TaskView | null, committedAtEnd: number, who: string): void {
    if (view === null) return;
    const seen = (this.#versions.get(id) ?? []).find((version) => version.revision === view.revision);
    if (view.revision > committedAtEnd || seen === undefined || !same(seen, view))
      fail('stale reads', `${who} saw ${id} ${view.state} at revision ${view.revision}, which never was`);
  }
}

/** By value: the order of fields may be another one after a way through JSON, though it hardly ever is. */
function same(version: Version, view: TaskView): boolean {
  if (version.text === null) return false;
  return version.text === JSON.stringify(view) || canonical(JSON.parse(version.text)) === canonical(view);
}
