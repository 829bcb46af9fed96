import { Writable } from 'node:stream';
import t from 'tap';
import { lineWriter, stderrLogger } from '../../../src/logger.js';

/** A disk that is full for as long as one says so. */
function disk() {
  const lines: string[] = [];
  const state = { full: false };
  const stream = new Writable({
    autoDestroy: false,
    write(chunk, _encoding, done) {
      if (state.full) return done(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
      lines.push(String(chunk));
      done();
    },
  });
  return { lines, state, stream };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('a log line that cannot be written is counted, ends nothing, and is told of when writing works again', async (t) => {
  const { lines, state, stream } = disk();
  // As the streams of the process are: an error of one write is not the end of the stream.
  stream.on('error', () => {
    (stream as unknown as { _undestroy(): void })._undestroy();
  });
  const logger = stderrLogger('info', { manager: 1 }, lineWriter(stream));
  logger.log('info', 'one');
  state.full = true;
  for (const word of ['two', 'three', 'four']) {
    logger.child({ part: 'x' }).log('warn', word);
    await settled();
  }
  state.full = false;
  logger.log('info', 'five');
  await settled();
  const said = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  t.match(said, [{ message: 'one', manager: 1 }, { message: 'five' }, { level: 'warn', message: /dropped/, dropped: 3 }]);
  t.equal(said.length, 3);
  logger.log('info', 'six');
  await settled();
  t.match(JSON.parse(lines.at(-1) as string), { message: 'six' }, 'and told once');
});
