import type { Json, StoredRun } from './model.js';

/**
 * Nesting that the log takes. JSON.parse takes any depth, JSON.stringify overflows the stack at some thousands: a deeper value could be read by
 * every manager and written down again by none. The edge refuses less already; this is the last door.
 */
const JSON_DEPTH_MAX = 128;

/** Why a value would not be the same after a way through the log, or could not be written again; null: it is fine. Never recurses past the limit. */
export const notJson = (value: unknown): string | null => flawOf(value, JSON_DEPTH_MAX);

function flawOf(value: unknown, levels: number): string | null {
  // 1e999 is JSON and parses to Infinity, which JSON.stringify turns into null: the leader would keep another value than its followers.
  if (typeof value === 'number') return Number.isFinite(value) ? null : 'a number is too large for JSON';
  if (typeof value !== 'object' || value === null) return null;
  if (levels === 0) return `a value nests deeper than ${JSON_DEPTH_MAX} levels`;
  if (Array.isArray(value)) {
    for (const item of value) {
      const flaw = flawOf(item, levels - 1);
      if (flaw !== null) return flaw;
    }
    return null;
  }
  for (const key in value) {
    const flaw = flawOf((value as Record<string, unknown>)[key], levels - 1);
    if (flaw !== null) return flaw;
  }
  return null;
}

/** Characters that a run may have beside others in one record. */
const LARGE = 2048;

/** Does it take more than some 2,048 characters? The same answer everywhere, for ever: where its record lies follows from it. */
export function largeRun(run: StoredRun): boolean {
  if (run.type === 'handler') return run.inputText.length > LARGE;
  let left = LARGE - (run.cwd?.length ?? 0);
  for (const argument of run.argv) left -= argument.length + 3;
  for (const name in run.env) left -= name.length + (run.env[name] as string).length + 6;
  return left < 0;
}

/** Equal by value: the order of an object's keys does not matter. */
export function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (isArray(a)) {
    if (!isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!sameJson(a[i] as Json, b[i] as Json)) return false;
    return true;
  }
  if (isArray(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys) if (!Object.hasOwn(b, key) || !sameJson(a[key] as Json, b[key] as Json)) return false;
  return true;
}

export function sameStrings(a: readonly string[], b: readonly string[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The same entries with sorted keys. fromEntries, because `copy[key] =` would lose a key named __proto__. */
export function sortedStrings(map: { readonly [key: string]: string }): { readonly [key: string]: string } {
  const keys = Object.keys(map);
  if (keys.length === 0) return NO_STRINGS;
  return Object.fromEntries(keys.sort().map((key) => [key, map[key] as string]));
}

/** Shared by everything that has none: a million empty objects are 56 MB. */
export const NO_STRINGS: { readonly [key: string]: string } = Object.freeze({});

const isArray = (value: Json): value is readonly Json[] => Array.isArray(value);
