import { resolve } from 'node:path';
import t from 'tap';
import { ConfigError, DEFAULT_LIMITS, DEFAULT_TIMING } from '../../../src/manager/config.js';
import { listenersOf, type ManagerOptions, managerConfig } from '../../../src/manager/options.js';

const ONE = '1=127.0.0.1:7201,http://127.0.0.1:7101';
const THREE = [ONE, '2=127.0.0.1:7202,http://127.0.0.1:7102', '3=localhost:7203,http://localhost:7103/'];
const GOOD: ManagerOptions = { id: '1', cluster: 'prod', data: './data', member: THREE };

t.test('good options become a checked configuration', async (t) => {
  const config = managerConfig(GOOD);
  t.same(config, {
    clusterId: 'prod',
    serverId: 1,
    directory: resolve('./data'),
    timing: DEFAULT_TIMING,
    limits: DEFAULT_LIMITS,
    members: [
      { serverId: 1, peer: '127.0.0.1:7201', api: 'http://127.0.0.1:7101' },
      { serverId: 2, peer: '127.0.0.1:7202', api: 'http://127.0.0.1:7102' },
      { serverId: 3, peer: 'localhost:7203', api: 'http://localhost:7103' },
    ],
  });
  t.same(managerConfig({ ...GOOD, member: [...THREE].reverse().join(' ') }), config, 'one text, in any order');
  t.same(listenersOf(config), { peer: { host: '127.0.0.1', port: 7201 }, api: { host: '127.0.0.1', port: 7101 } });
  t.same(listenersOf(managerConfig({ ...GOOD, member: ['1=[::1]:7201,http://[::1]:7101'] })), {
    peer: { host: '::1', port: 7201 },
    api: { host: '::1', port: 7101 },
  });
  t.same(managerConfig({ ...GOOD, witness: ['3'] }), { ...config, witnesses: [3] });
  t.same(managerConfig({ ...GOOD, witness: ' ' }), config, 'QUORATE_WITNESSES is set, and empty');
  const five = [...THREE, '4=127.0.0.1:7204,http://127.0.0.1:7104', '5=127.0.0.1:7205,http://127.0.0.1:7105'];
  t.same(managerConfig({ ...GOOD, member: five, witness: '5 2' }).witnesses, [2, 5], 'in one text, in any order; two of five');
  t.match(managerConfig({ ...GOOD, leaseMs: '9000', taskBytesMax: '2048', tickMs: '20' }), {
    timing: { leaseMs: 9000, tickMs: 20, flushMs: DEFAULT_TIMING.flushMs },
    limits: { taskBytesMax: 2048 },
  });

  const open = { ...GOOD, member: ['1=manager-1.example:7201,http://manager-1.example'], insecure: true };
  t.same(listenersOf(managerConfig(open)), { peer: { host: 'manager-1.example', port: 7201 }, api: { host: 'manager-1.example', port: 80 } });
  t.same(listenersOf(managerConfig({ ...open, listenPeer: '0.0.0.0:7201', listenApi: '[::]:7101' })), {
    peer: { host: '0.0.0.0', port: 7201 },
    api: { host: '::', port: 7101 },
  });
  t.ok(managerConfig({ ...open, insecure: false, listenPeer: '127.0.0.1:1', listenApi: 'localhost:2' }), 'what counts is where it listens');
});

t.test('each wrong option is named, with what would be right', async (t) => {
  for (const [change, text] of [
    [{ id: undefined }, /^--id: expected a server id from 1 to 2147483647, got nothing/],
    [{ id: '0' }, /^--id: .*got "0"/],
    [{ id: 'one' }, /^--id: .*got "one"/],
    [{ id: '1e3' }, /^--id/],
    [{ id: '99999999999' }, /^--id/],
    [{ witness: ['4'] }, /^--witness 4 is not among --member \(1, 2, 3\): a witness is one of the managers/],
    [{ witness: ['three'] }, /^--witness: expected a server id.*got "three"/],
    [{ witness: ['3', '3'] }, /^--witness 3 is given twice/],
    [{ witness: ['2', '3'] }, /^--witness 2, 3: of 3 managers at most 1 can be a witness: a majority of witnesses alone would/],
    [{ member: [ONE], witness: ['1'] }, /^--witness 1: of 1 manager none can be a witness/],
    [{ id: '4' }, /^--id 4 is not among --member \(1, 2, 3\)/],
    [{ cluster: undefined }, /^--cluster nothing: give a name/],
    [{ cluster: 'my cluster' }, /^--cluster "my cluster"/],
    [{ data: '' }, /^--data is missing/],
    [{ member: undefined }, /^--member is missing: give ID=HOST:PORT,http/],
    [{ member: [] }, /^--member is missing/],
    [{ member: ['1:127.0.0.1'] }, /^--member "1:127.0.0.1": expected ID=HOST:PORT,URL/],
    [{ member: ['x=127.0.0.1:1,http://127.0.0.1:2'] }, /^--member "x=.*expected a server id/],
    [{ member: ['1=127.0.0.1,http://127.0.0.1:2'] }, /"127.0.0.1" is not HOST:PORT/],
    [{ member: ['1=127.0.0.1:0,http://127.0.0.1:2'] }, /with a port from 1 to 65535/],
    [{ member: ['1=127.0.0.1:70000,http://127.0.0.1:2'] }, /is not HOST:PORT/],
    [{ member: ['1=127.0.0.1:1,127.0.0.1:2'] }, /"127.0.0.1:2" is not a base URL/],
    [{ member: ['1=127.0.0.1:1,https://127.0.0.1:2'] }, /is not a base URL such as http/],
    [{ member: ['1=127.0.0.1:1,http://127.0.0.1:2/v1'] }, /is not a base URL/],
    [{ member: ['1=127.0.0.1:7,http://127.0.0.1:7'] }, /cannot share 127.0.0.1:7/],
    [{ member: THREE.slice(0, 2) }, /given 2 times: a cluster has one, three or five managers \(an even number/],
    [{ member: [1, 2, 3, 4, 5, 6, 7].map((id) => `${id}=127.0.0.1:720${id},http://127.0.0.1:710${id}`) }, /given 7 times.*more than five/],
    [{ member: [...THREE.slice(0, 2), ONE] }, /id 1 is given twice/],
    [{ member: [ONE, '2=127.0.0.1:7201,http://127.0.0.1:7102', THREE[2] as string] }, /peer address 127.0.0.1:7201 is given twice/],
    [{ member: [ONE, '2=127.0.0.1:7202,http://127.0.0.1:7101/', THREE[2] as string] }, /API address http:\/\/127.0.0.1:7101 is given twice/],
    [{ member: ['1=10.0.0.1:7201,http://127.0.0.1:7101'] }, /^the peer port would listen on 10.0.0.1.*TLS is not there yet.*--insecure/],
    [{ member: ['1=127.0.0.1:7201,http://manager-1:7101'] }, /^the API would listen on manager-1.*--insecure/],
    [{ listenApi: '0.0.0.0:7101' }, /^the API would listen on 0.0.0.0.*--insecure/],
    [{ listenApi: '7101' }, /^--listen-api "7101": expected HOST:PORT/],
    [{ leaseMs: 'long' }, /^--lease-ms: expected a whole number from 200 to 600000, got "long"/],
    [{ leaseMs: '-5' }, /^--lease-ms/],
    [{ leaseMs: '1e4' }, /^--lease-ms/],
    [{ leaseMs: '1000' }, /^--lease-ms 1000 must be at least twice --worker-heartbeat-ms 1500/],
    [{ electionTicks: '4' }, /^--election-ticks 4 must be at least three times --heartbeat-ticks 2/],
    [{ taskBytesMax: '999999999999999999' }, /^--task-bytes-max/],
    [{ bodyBytesMax: '2048' }, /^--body-bytes-max 2048 must be at least --task-bytes-max/],
  ] as [Partial<ManagerOptions>, RegExp][]) {
    let caught: unknown = null;
    try {
      managerConfig({ ...GOOD, ...change } as ManagerOptions);
    } catch (error) {
      caught = error;
    }
    t.ok(caught instanceof ConfigError && caught.code === 'invalidConfig', JSON.stringify(change));
    t.match((caught as Error | null)?.message, text);
  }
});
