import type { Json } from './model.js';

/**
 * Nesting that is taken. JSON.parse takes any depth, JSON.stringify overflows the stack at some thousands: a deeper value would pass the
 * edge and then stop every manager that wants to write it down.
 */
export const JSON_DEPTH_MAX = 128;

/** Whether a parsed JSON value nests deeper than JSON_DEPTH_MAX. Never recurses further than that. */
export const isTooDeep = (value: unknown): boolean => deeperThan(value, JSON_DEPTH_MAX);

function deeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  if (Array.isArray(value)) {
    for (const item of value) if (deeperThan(item, levels - 1)) return true;
    return false;
  }
  for (const key in value) if (deeperThan((value as Record<string, unknown>)[key], levels - 1)) return true;
  return false;
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
