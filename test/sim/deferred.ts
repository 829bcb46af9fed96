/** A promise settled from outside, once; later tries are nothing. */
export interface Deferred<Value> {
  readonly promise: Promise<Value>;
  readonly settled: boolean;
  resolve(value: Value): void;
}

export function deferred<Value>(): Deferred<Value> {
  let give: (value: Value) => void = () => {};
  let settled = false;
  const promise = new Promise<Value>((resolve) => {
    give = resolve;
  });
  return {
    promise,
    get settled() {
      return settled;
    },
    resolve(value) {
      if (!settled) {
        settled = true;
        give(value);
      }
    },
  };
}
