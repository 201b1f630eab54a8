import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:https';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { tempDir } from '../test/temp-dir.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const token = '0123456789abcdef0123456789abcdef';
const headers = { authorization: `Bearer ${token}` };
const settings = { OPSFLEET_AGENT_TOKEN: token, OPSFLEET_AGENT_HOST: '127.0.0.1', OPSFLEET_AGENT_PORT: '0' };

type Ready = { listening: string; pid: number; fingerprint?: string };

function run(environment: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, [main], { env: environment, stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function start(environment: Record<string, string>): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = run(environment);
  const [line] = await once(createInterface({ input: child.stdout! }), 'line');
  return { child, ready: JSON.parse(String(line)) as Ready };
}

test('it says where it listens, reports this machine, and ends well on SIGTERM', async () => {
  const { child, ready } = await start(settings);
  expect(ready).toEqual({
    listening: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
    pid: child.pid,
  });

  const health = await fetch(`${ready.listening}/health`, { headers });
  expect(await health.json()).toMatchObject({ version: '0.1.0' });
  const metrics = await fetch(`${ready.listening}/api/v1/metrics/current`, { headers });
  expect(Object.keys((await metrics.json()) as object)).toEqual(
    expect.arrayContaining([
      'cpu_percent',
      'memory_percent',
      'disk_percent',
      'network_rx_bytes',
      'network_tx_bytes',
    ]),
  );

  const log = text(child.stderr!);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
  expect(await log).not.toContain(token);
});

test('over TLS with its own certificate, it names the fingerprint to pin', async () => {
  const { ready } = await start({
    ...settings,
    OPSFLEET_AGENT_TLS: 'auto',
    OPSFLEET_AGENT_DATA_DIR: tempDir(),
  });
  const asked = request(`${ready.listening}/health`, { headers, rejectUnauthorized: false }).end();
  const [response] = await once(asked, 'response');
  expect(response.statusCode).toBe(200);
  expect(response.socket.getPeerCertificate().fingerprint256).toBe(ready.fingerprint);
  response.resume();
});

test('it ends when the program that started it is gone, if it was told to', async () => {
  const { child } = await start({ ...settings, OPSFLEET_AGENT_EXIT_WITH_PARENT: 'true' });
  child.stdin!.destroy();
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('it goes on reporting when nobody reads its output any more', async () => {
  const { child, ready } = await start(settings);
  child.stdout!.destroy();
  child.stderr!.destroy();
  const refusedAndLogged = await fetch(`${ready.listening}/health`);
  expect(refusedAndLogged.status).toBe(401);
  expect((await fetch(`${ready.listening}/health`, { headers })).status).toBe(200);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('a wrong setting: one line that names it, no stack, exit code 1', async () => {
  const child = run({ ...settings, OPSFLEET_AGENT_PORT: 'http' });
  const [message, exit] = await Promise.all([text(child.stderr!), once(child, 'exit')]);
  expect(message).toBe('opsfleet-agent: OPSFLEET_AGENT_PORT must be a whole number from 0 to 65535\n');
  expect(exit).toEqual([1, null]);
});

test('a port that is taken is named', async () => {
  const { ready } = await start(settings);
  const port = new URL(ready.listening).port;
  const child = run({ ...settings, OPSFLEET_AGENT_PORT: port });
  const [message, exit] = await Promise.all([text(child.stderr!), once(child, 'exit')]);
  expect(message).toContain(`cannot listen on 127.0.0.1 port ${port}`);
  expect(exit).toEqual([1, null]);
});
