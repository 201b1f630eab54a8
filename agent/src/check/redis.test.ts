import { expect, test } from 'vitest';
import { peer } from '../../test/peer.ts';
import { redisProbe } from './redis.ts';

const probe = redisProbe(null, 300);
const answering = (reply: string) => peer(socket => socket.once('data', () => socket.write(reply)));

test.each([
  ['+PONG\r\n', 'ok'],
  ['-NOAUTH Authentication required.\r\n', 'ok'],
  ['-DENIED Redis is running in protected mode\r\n', 'ok'],
  ["-NOPERM User default has no permissions to run the 'ping' command\r\n", 'ok'],
  ['-MASTERDOWN Link with MASTER is down\r\n', 'degraded'],
  ['-LOADING Redis is loading the dataset in memory\r\n', 'failed'],
  ['-ERR max number of clients reached\r\n', 'failed'],
])('%j', async (reply, status) => {
  await expect(probe.ask(await answering(reply))).resolves.toMatchObject({ status, recognised: true });
});

test('with a password it logs in first', async () => {
  let request = '';
  const address = await peer(socket => {
    socket.once('data', bytes => {
      request = bytes.toString();
      socket.write('+OK\r\n+PONG\r\n');
    });
  });
  await expect(redisProbe('pässword', 300).ask(address)).resolves.toEqual({ status: 'ok', recognised: true });
  expect(request).toBe('*2\r\n$4\r\nAUTH\r\n$9\r\npässword\r\n*1\r\n$4\r\nPING\r\n');
});

test('a refused password is a degraded Redis, and is not repeated', async () => {
  const address = await answering('-WRONGPASS invalid username-password pair\r\n');
  const finding = await redisProbe('hunter2', 300).ask(address);
  expect(finding).toMatchObject({ status: 'degraded' });
  expect(JSON.stringify(finding)).not.toContain('hunter2');
});

test.each(['HTTP/1.1 400 Bad Request\r\n', '+OK\r\n', '-\r\n', 'x'.repeat(600)])(
  '%j is not Redis',
  async reply => {
    await expect(probe.ask(await answering(reply))).resolves.toMatchObject({
      status: 'failed',
      recognised: false,
    });
  },
);

test('silence is a failure', async () => {
  await expect(probe.ask(await peer(() => {}))).resolves.toMatchObject({
    status: 'failed',
    recognised: false,
  });
});
