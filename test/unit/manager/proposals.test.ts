/** What waits before the log and what waits for reads: packed, bounded, and answered honestly when the leadership goes. */
import t from 'tap';
import { logIndex, term } from '../../../raft/ids.js';
import type { Block, Command, Outcome } from '../../../src/cluster/command.js';
import { revision } from '../../../src/cluster/ids.js';
import { type Placed, Proposals } from '../../../src/manager/proposals.js';
import { Reads } from '../../../src/manager/reads.js';
import { settle, tick } from './promises.js';

const submit = (id: string): Command => ({ type: 'cancel', taskId: id as never, reason: '' });
const ok = (index: number): Outcome => ({ code: 'ok', revision: revision(index) });
/** A log that takes blocks: the n-th gets index n. */
function log(answers: Placed[] = []): { blocks: Block[]; pack: (proposals: Proposals) => boolean } {
  const blocks: Block[] = [];
  return {
    blocks,
    pack: (proposals) =>
      proposals.pack(
        () => 1,
        (block) => {
          blocks.push(block);
          return new Uint8Array(1);
        },
        () => answers.shift() ?? { index: logIndex(blocks.length), term: term(1) },
        () => null,
      ),
  };
}

t.test('proposals: packed in order, answered in slices, refused beyond the bounds', async (t) => {
  const proposals = new Proposals({ commandsMax: 5, bytesMax: 1000, timeoutMs: 100 });
  const { blocks, pack } = log();
  const a = settle(proposals.add([submit('a'), submit('b')], 10, 'client', 0));
  const b = settle(proposals.add([submit('c')], 10, 'client', 0));
  const c = settle(proposals.add([submit('d'), submit('e'), submit('f')], 10, 'client', 0));
  const d = settle(proposals.add([submit('w')], 10, 'worker', 0));
  const e = settle(proposals.add([submit('i')], 5000, 'internal', 0));
  t.equal(pack(proposals), true);
  t.equal(pack(proposals), false, 'nothing is left');
  t.same(
    blocks.map((block) => block.commands.map((command) => (command as { taskId: string }).taskId).join('')),
    ['abcwi'],
    'one block',
  );
  t.same([proposals.pendingCommands, proposals.pendingBytes], [5, 5030]);
  const inFlight = proposals.take(logIndex(1), term(1));
  t.not(inFlight, null);
  proposals.answer(inFlight as NonNullable<typeof inFlight>, [1, 2, 3, 4, 5].map(ok));
  await tick();
  const revisions = (text: string): number[] => (JSON.parse(text) as { revision: number }[]).map((outcome) => outcome.revision);
  t.same(
    [a, b, d, e].map(({ text }) => revisions(text)),
    [[1, 2], [3], [4], [5]],
  );
  t.equal(c.text, 'overloaded');
  t.same([proposals.pendingCommands, proposals.pendingBytes], [0, 0]);
  const big = settle(
    proposals.add(
      Array.from({ length: 9 }, () => submit('x')),
      5000,
      'client',
      0,
    ),
  );
  await tick();
  t.equal(big.text, 'waiting', 'one that is larger than the bound passes when nothing else waits');
});

t.test('proposals: large ones get blocks of their own, a busy log keeps its place, a refused one was not taken', async (t) => {
  const proposals = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const { blocks, pack } = log([{ index: logIndex(1), term: term(1) }, 'busy']);
  for (const id of ['a', 'b', 'c']) settle(proposals.add([submit(id)], 600_000, 'client', 0));
  t.equal(pack(proposals), true);
  t.equal(blocks.length, 2, 'the second was packed, and found the log busy');
  t.equal(proposals.ready, false, 'no use in asking at once again');
  t.equal(pack(proposals), true);
  t.equal(blocks.length, 3, 'the stuck block is offered again as it is');
  t.equal(proposals.blocksInFlight, 3);

  const refused = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const seen = settle(refused.add([submit('a')], 1, 'client', 0));
  log(['refused']).pack(refused);
  await tick();
  t.equal(seen.text, 'noLeader');
  t.equal(refused.pendingCommands, 0);
});

t.test('proposals: what a change of leadership leaves behind has an honest answer', async (t) => {
  const proposals = new Proposals({ commandsMax: 100, bytesMax: 1 << 30, timeoutMs: 100 });
  const placed = (index: number, inTerm: number): Placed => ({ index: logIndex(index), term: term(inTerm) });
  const propose = (placement: Placed | null): { text: string } => {
    const seen = settle(proposals.add([submit('x')], 1, 'client', 0));
    if (placement !== null) log([placement]).pack(proposals);
    return seen;
  };
  const first = propose(placed(5, 1));
  const second = propose(placed(6, 1));
  const third = propose(placed(7, 1));
  const queued = propose(null);
  proposals.refuseQueued(
    new (class extends Error {
      code = 'noLeader';
    })() as never,
  );
  proposals.rejected(logIndex(7), term(2));
  await tick();
  t.equal(queued.text, 'noLeader', 'never in the log: not taken');
  t.equal(third.text, 'waiting', 'another term is another entry');
  proposals.rejected(logIndex(7), term(1));
  t.equal(proposals.take(logIndex(5), term(1)) === null, false, 'what commits under its own term is answered');
  t.equal(proposals.take(logIndex(6), term(3)), null, 'another entry stands in its place');
  await tick();
  t.same([first.text, second.text, third.text], ['waiting', 'outcomeUnknown', 'outcomeUnknown']);

  const again = propose(placed(9, 5));
  const truncated = propose(placed(10, 5));
  const replaced = propose(placed(9, 7));
  await tick();
  t.same([again.text, truncated.text, replaced.text], ['outcomeUnknown', 'outcomeUnknown', 'waiting'], 'a new block at an old place: what stood there is gone');
  t.not(proposals.take(logIndex(9), term(7)), null);

  const late = propose(placed(11, 7));
  const skipped = propose(placed(12, 7));
  proposals.expire(99);
  await tick();
  t.equal(late.text, 'waiting');
  proposals.expire(100);
  await tick();
  t.equal(late.text, 'outcomeUnknown');
  proposals.skippedTo(logIndex(12));
  await tick();
  t.equal(skipped.text, 'outcomeUnknown');
  const never = propose(null);
  proposals.expire(200);
  await tick();
  t.equal(never.text, 'noLeader', 'timed out before it reached the log: surely not taken');
  const remaining = propose(placed(13, 8));
  proposals.refuseAll(
    new (class extends Error {
      code = 'shuttingDown';
    })() as never,
  );
  await tick();
  t.equal(remaining.text, 'outcomeUnknown');
  t.equal(proposals.pendingCommands, 2, 'the two that were taken out to be applied');
});

t.test('reads: who came before a round shares it; a lost round is asked again; each is served at its index', async (t) => {
  const reads = new Reads(5000, 1000);
  const asked: number[] = [];
  const ask = (context: number): boolean => {
    asked.push(context);
    return true;
  };
  const a = settle(reads.add(0));
  const b = settle(reads.add(0));
  reads.begin(0, ask);
  const c = settle(reads.add(1));
  t.same(asked, [1]);
  reads.begin(1, ask);
  reads.granted(1, true, logIndex(10));
  reads.applied(logIndex(9));
  await tick();
  t.equal(a.text, 'waiting', 'not before its index is applied');
  reads.applied(logIndex(10));
  await tick();
  t.same([a.text, b.text, c.text], [undefined, undefined, 'waiting'] as never);
  reads.expire(1000);
  reads.begin(1001, ask);
  t.same(asked, [1, 2], 'not lost yet');
  reads.expire(1002);
  reads.begin(1002, ask);
  t.same(asked, [1, 2, 3], 'asked again, under a new number');
  reads.granted(2, true, logIndex(1));
  reads.applied(logIndex(100));
  await tick();
  t.equal(c.text, 'waiting', "an answer to the round before is nobody's (trap A45)");
  reads.granted(3, false, logIndex(0));
  await tick();
  t.equal(c.text, 'noLeader');
  const d = settle(reads.add(2000));
  reads.expire(7000);
  await tick();
  t.equal(d.text, 'noLeader');
  const e = settle(reads.add(8000));
  reads.begin(8000, () => false);
  await tick();
  t.equal(e.text, 'noLeader');
  for (let round = 0; round < 6; round += 1) {
    settle(reads.add(9000));
    reads.begin(9000, ask);
  }
  t.equal(asked.length, 7, 'at most four rounds at once');
});
