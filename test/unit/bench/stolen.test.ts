import t from 'tap';
import { cpuTimes, stolenShare } from '../../../bench/support/stolen.js';

const stat = (line: string) => () => `${line}\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n`;

t.test('the share of CPU time that a hypervisor took', (t) => {
  const before = cpuTimes(stat('cpu  100 0 50 800 10 0 0 40 20 0'));
  t.same(before, { total: 1000, stolen: 40 }, "guests' time is in the user's already");
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
