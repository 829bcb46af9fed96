import { randomFillSync } from 'node:crypto';

/** The only door to chance. */
export interface Random {
  /** An integer from 0 to 2^32 - 1. */
  uint32(): number;
}

export const systemRandom: Random = {
  uint32: () => {
    const word = new Uint32Array(1);
    randomFillSync(word);
    return word[0] as number;
  },
};

/** 0 <= x < 1 */
export const fraction = (random: Random): number => random.uint32() / 0x1_0000_0000;
/** `ms` spread over ms/2 .. ms, so that many do not wake together. */
export const jitter = (random: Random, ms: number): number => ms / 2 + fraction(random) * (ms / 2);
export function uuidBytes(random: Random): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 16; at += 4) view.setUint32(at, random.uint32());
  return bytes;
}
