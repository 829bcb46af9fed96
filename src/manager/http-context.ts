import type { ServerResponse } from 'node:http';
import type { CallContext } from './api.js';

/** PERF: the AbortController comes only when a handler asks for the signal: submits and reports never do. */
export class RequestContext implements CallContext {
  readonly forwarded: boolean;
  readonly #response: ServerResponse;
  readonly #open: Set<RequestContext>;
  #controller: AbortController | null = null;

  /** `open`: those that somebody may have to abort. */
  constructor(forwarded: boolean, response: ServerResponse, open: Set<RequestContext>) {
    this.forwarded = forwarded;
    this.#response = response;
    this.#open = open;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      this.#open.add(this);
      if (this.#response.destroyed) this.abort();
      else this.#response.once('close', () => this.abort());
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#open.delete(this);
    this.#controller?.abort();
  }
}

/** Resolves true when `response` takes more, false when it is gone. */
export function drained(response: ServerResponse): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  if (!response.writableNeedDrain) return Promise.resolve(true);
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve(!response.destroyed);
    };
    response.on('drain', done);
    response.on('close', done);
  });
}
