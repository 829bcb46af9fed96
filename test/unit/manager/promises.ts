/** What a promise has come to so far: 'waiting', its value as JSON, or the code of its error. */
export const settle = (promise: Promise<unknown>): { text: string } => {
  const seen = { text: 'waiting' };
  promise.then(
    (value) => {
      seen.text = JSON.stringify(value);
    },
    (error: { code: string }) => {
      seen.text = error.code;
    },
  );
  return seen;
};
/** What settles without time has settled behind it. */
export const tick = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });
