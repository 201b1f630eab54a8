import { expect, test } from 'vitest';
import { peer } from '../../test/peer.ts';
import { exchange } from './exchange.ts';

const whole = (received: Buffer): string | undefined => {
  const text = received.toString();
  return text.endsWith('.') ? text : undefined;
};
const ask = { request: Buffer.from('?'), read: whole, timeoutMs: 300 };

test('the request is sent, and the answer is complete when the reader says so', async () => {
  const address = await peer(socket => {
    socket.on('data', request => {
      socket.write(`you said ${request.toString()}`);
      setImmediate(() => socket.write(', I think.'));
    });
  });
  await expect(exchange(address, ask)).resolves.toEqual({ answer: 'you said ?, I think.' });
});

test.each<[string, string, Parameters<typeof peer>[0]]>([
  ['says nothing', 'no answer in 300 ms', () => {}],
  ['hangs up', 'closed the connection without an answer', socket => socket.end()],
  ['never finishes', 'no answer in 300 ms', socket => socket.write('well')],
  ['resets the connection', 'ECONNRESET', socket => socket.resetAndDestroy()],
  [
    'talks without end',
    'answered more than 8192 bytes',
    socket => {
      const more = (): void => void (socket.destroyed || socket.write('x'.repeat(4096), more));
      more();
    },
  ],
])('a peer that %s: %s', async (_, reason, behave) => {
  const result = await exchange(await peer(behave), ask);
  expect(result).toEqual({ unanswered: expect.stringContaining(reason) as string });
});

test('nobody there', async () => {
  const result = await exchange({ path: '/nowhere/socket' }, ask);
  expect(result).toEqual({ unanswered: expect.stringContaining('ENOENT') as string });
});
