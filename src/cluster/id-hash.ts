/** FNV-1a with a last mix, 32 bits. Ids are ASCII. */
export function hashOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** The same bits as a small integer, which V8 holds without a box. */
export const idHash = (id: string): number => hashOf(id) | 0;

/** A table of ids stands in so many parts, each of which grows by itself: a million ids in one table stand still for 0.1 s when it doubles. */
export const PARTS = 64;

/** The part that a hash belongs to, by its highest six bits: the lowest say where in it. */
export const partOf = (hash: number): number => hash >>> 26;
