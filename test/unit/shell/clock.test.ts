import t from 'tap';
import { systemClock } from '../../../src/clock.js';

/** What the real timers were asked for; calls come when the test says so. */
function timers(t: { teardown(undo: () => void): void }) {
  const real = { set: globalThis.setTimeout, clear: globalThis.clearTimeout };
  const asked: { readonly ms: number; readonly call: () => void; cancelled: boolean }[] = [];
  globalThis.setTimeout = ((call: () => void, ms: number) => asked.push({ ms, call, cancelled: false }) - 1) as never;
  globalThis.clearTimeout = ((at: number) => {
    (asked[at] as { cancelled: boolean }).cancelled = true;
  }) as never;
  t.teardown(() => {
    globalThis.setTimeout = real.set;
    globalThis.clearTimeout = real.clear;
  });
  return asked;
}

t.test('a time that has passed is asked for as 0, one beyond the longest timer in pieces', async (t) => {
  const asked = timers(t);
  let calls = 0;
  const call = (): void => {
    calls += 1;
  };
  systemClock.after(-3, call);
  systemClock.after(5, call);
  t.same(
    asked.map(({ ms }) => ms),
    [0, 5],
  );
  const day = 86_400_000;
  const long = systemClock.after(60 * day, call);
  asked[2]?.call();
  asked[3]?.call();
  t.equal(calls, 0, 'not yet');
  t.equal(
    asked.slice(2).reduce((sum, { ms }) => sum + ms, 0),
    60 * day,
  );
  t.ok(asked.every(({ ms }) => ms < 2 ** 31));
  long.cancel();
  t.same(
    asked.map(({ cancelled }) => cancelled),
    [false, false, false, false, true],
    'what runs now is cancelled',
  );
  asked[0]?.call();
  t.equal(calls, 1);
});
