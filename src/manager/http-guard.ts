import { isIP } from 'node:net';
import type { Member } from './config.js';

const CACHE_MAX = 1000;

/**
 * A web page must not reach a loopback API: neither by a request of its own origin (Origin header), nor under a name of its own that it points at
 * 127.0.0.1 (DNS rebinding: the Host header tells). Null: let it pass; else what is wrong.
 */
export class HttpGuard {
  readonly #names: ReadonlySet<string>;
  readonly #loopback: boolean;
  readonly #passed = new Set<string>();

  constructor(members: readonly Member[], loopback: boolean) {
    this.#names = new Set(['localhost', ...members.map((member) => hostOf(new URL(member.api).host))]);
    this.#loopback = loopback;
  }

  check(host: string | undefined, origin: string | undefined): string | null {
    if (origin !== undefined && (host === undefined || !sameOrigin(origin, host)))
      return `header origin: requests of web pages (${origin.slice(0, 200)}) are not taken`;
    if (!this.#loopback || (host !== undefined && this.#passed.has(host))) return null;
    if (host === undefined) return 'header host: is missing';
    const name = hostOf(host);
    if (isIP(name) === 0 && !this.#names.has(name.toLowerCase()))
      return `header host: ${host.slice(0, 200)} is not a name of this manager; use its address, or localhost`;
    if (this.#passed.size < CACHE_MAX) this.#passed.add(host);
    return null;
  }
}

/** Without port and brackets. */
function hostOf(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host);
  return match?.[1] ?? match?.[2] ?? host;
}

function sameOrigin(origin: string, host: string): boolean {
  const at = origin.indexOf('://');
  return at > 0 && origin.slice(at + 3).toLowerCase() === host.toLowerCase();
}

/** An address that only this machine reaches. */
export const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
