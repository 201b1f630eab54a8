import { expect, test } from 'vitest';
import { peer } from '../../test/peer.ts';
import { postgresProbe } from './postgres.ts';

const probe = postgresProbe(300);

/** A backend message: type, length, body. */
function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([header, body]);
}

const error = (sqlState: string, text: string): Buffer =>
  message('E', Buffer.from(`SFATAL\0VFATAL\0C${sqlState}\0M${text}\0Fpostmaster.c\0\0`));
const saslRequested = message('R', Buffer.from('\0\0\0\x0aSCRAM-SHA-256\0\0', 'latin1'));

const answering = (reply: Buffer) => peer(socket => socket.once('data', () => socket.write(reply)));

test('it is asked as a client of protocol 3.0 would', async () => {
  let request = Buffer.alloc(0);
  const address = await peer(socket => {
    socket.once('data', bytes => {
      request = bytes;
      socket.write(saslRequested);
    });
  });
  await probe.ask(address);
  expect(request.readInt32BE(0)).toBe(request.length);
  expect(request.readInt32BE(4)).toBe(3 << 16);
  expect(request.toString('utf8', 8)).toBe('user\0opsfleet-agent\0database\0postgres\0\0');
});

test.each([
  ['asks for a password', saslRequested, 'ok'],
  ['lets us in', message('R', Buffer.alloc(4)), 'ok'],
  ['does not know the role', error('28000', 'role "opsfleet-agent" does not exist'), 'ok'],
  ['has no such database', error('3D000', 'database "postgres" does not exist'), 'ok'],
  ['is full', error('53300', 'sorry, too many clients already'), 'degraded'],
  ['is starting', error('57P03', 'the database system is starting up'), 'failed'],
  ['is broken', error('XX000', 'internal error'), 'failed'],
])('a server that %s', async (_, reply, status) => {
  await expect(probe.ask(await answering(reply))).resolves.toMatchObject({ status, recognised: true });
});

test('the reason is passed on', async () => {
  const address = await answering(error('57P03', 'the database system is shutting down'));
  const { message: reason } = await probe.ask(address);
  expect(reason).toBe('57P03: the database system is shutting down');
});

test('an answer in pieces is put together', async () => {
  const reply = error('57P03', 'the database system is starting up');
  const address = await peer(socket => {
    socket.once('data', () => {
      socket.write(reply.subarray(0, 3));
      setImmediate(() => socket.write(reply.subarray(3)));
    });
  });
  await expect(probe.ask(address)).resolves.toMatchObject({ status: 'failed', recognised: true });
});

test.each([
  ['another protocol', Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')],
  ['a length that cannot be', Buffer.from('R\xff\xff\xff\xff', 'latin1')],
  ['an error larger than any', Buffer.from('E\0\x10\0\0', 'latin1')],
  ['an error without a code', message('E', Buffer.from('Mhello\0\0'))],
])('%s is not PostgreSQL', async (_, reply) => {
  await expect(probe.ask(await answering(reply))).resolves.toMatchObject({
    status: 'failed',
    recognised: false,
  });
});

test('silence is a failure', async () => {
  await expect(probe.ask(await peer(() => {}))).resolves.toMatchObject({
    status: 'failed',
    recognised: false,
  });
});
