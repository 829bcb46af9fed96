import t from 'tap';
import { atRest, type CpuTimes, cpuTimes, stolenShare } from '../../../bench/support/stolen.js';

const stat = (line: string) => () => `${line}\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n`;

t.test('the share of CPU time that a hypervisor took', (t) => {
  const before = cpuTimes(stat('cpu  100 0 50 800 10 0 0 40 20 0'));
  t.same(before, { total: 1000, stolen: 40, idle: 810 }, "guests' time is in the user's already");
  const after = cpuTimes(stat('cpu  200 0 100 850 10 0 0 90 70 0'));
  t.equal(stolenShare(before, after), 50 / 250);
  t.equal(stolenShare(after, after), null, 'no time has passed');
  t.end();
});

t.test('not known: another system, or a kernel that does not count it', (t) => {
  const missing = cpuTimes(() => {
    throw new Error('ENOENT');
  });
  t.equal(missing, null);
  t.equal(cpuTimes(stat('cpu  1 2 3 4')), null);
  t.equal(stolenShare(missing, cpuTimes(stat('cpu  1 2 3 4 5 6 7 8 9 10'))), null);
  t.end();
});

t.test('a machine is at rest when next to nothing was done between two looks', async (t) => {
  const looks = (...shares: number[]): (() => CpuTimes) => {
    let total = 0;
    let idle = 0;
    return () => {
      total += 100;
      idle += 100 - (shares.shift() ?? 100);
      return { total, idle, stolen: 0 };
    };
  };
  let seen = 0;
  const counted = (read: () => CpuTimes) => () => {
    seen += 1;
    return read();
  };
  t.equal(await atRest(counted(looks(100, 60, 30, 3, 90)), 90_000), true);
  t.equal(seen, 4, 'it looked until it was so');
  t.equal(await atRest(looks(), 600), false, 'never');
  t.equal(await atRest(() => null), false, 'nobody can tell');
});
