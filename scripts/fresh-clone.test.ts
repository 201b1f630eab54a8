import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { freemem, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

/** What a person does who has just cloned the repository, with the commands of the README. */
const root = join(import.meta.dirname, '..');
const parent = mkdtempSync(join(tmpdir(), 'opsfleet-fresh-'));
const clone = join(parent, 'clone');
const dataDir = join(parent, 'data');
const started: ChildProcess[] = [];
let port: number;

beforeAll(async () => {
  // As root, the database runs as another user, who has to pass through.
  execFileSync('chmod', ['711', parent]);
  const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
  });
  for (const file of String(files).split('\0').filter(Boolean)) cpSync(join(root, file), join(clone, file));
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  port = (probe.address() as { port: number }).port;
  probe.close();
});

afterAll(() => {
  // Where the test failed half-way. The database outlives a kill on purpose and is told separately.
  for (const child of started) signalGroup(child, 'SIGKILL');
  const pidFile = join(dataDir, 'pgdata', 'postmaster.pid');
  if (existsSync(pidFile)) process.kill(Number.parseInt(readFileSync(pidFile, 'utf8'), 10), 'SIGQUIT');
  rmSync(parent, { recursive: true, force: true, maxRetries: 5 });
});

/** Ctrl-C at a terminal reaches the whole group. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    // It is gone already.
  }
}

type Start = { child: ChildProcess; token: string; link: string; said(): string };

async function start(): Promise<Start> {
  const child = spawn('npm', ['start'], {
    cwd: clone,
    detached: true,
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: process.env['HOME'] ?? parent,
      OPSFLEET_PORT: String(port),
      OPSFLEET_DATA_DIR: dataDir,
    },
  });
  started.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += chunk));
  await expect.poll(() => output, { timeout: 150_000, interval: 100 }).toContain('Stop with Ctrl-C.');
  const token = /API token +(\S+)/.exec(output)?.[1];
  const link = /#link=(\S+)/.exec(output)?.[1];
  return { child, token: token ?? '', link: link ?? '', said: () => output };
}

type Server = { id: string; health_status: string; last_health_check_at: string };
type Metrics = { memory_percent: number; disk_percent: number };
type Body = { servers: Server[]; server: Server; metrics: Metrics[] };

async function get(token: string, path: string): Promise<Body> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/fleet${path}`, { headers });
  return (await response.json()) as Body;
}

/** The fullest filesystem on a device, as `df` counts, in percent; the root where no device shows. */
function fullestDiskPercent(): number {
  const lines = execFileSync('df', ['-P', '-k'], { encoding: 'utf8' }).trim().split('\n').slice(1);
  const rows = lines.map(line => line.trim().split(/\s+/));
  const devices = rows.filter(([device]) => device!.startsWith('/dev/') && !device!.startsWith('/dev/loop'));
  const looked = devices.length > 0 ? devices : rows.filter(row => row[5] === '/');
  return Math.max(...looked.map(row => (100 * Number(row[2])) / (Number(row[2]) + Number(row[3]))));
}

it('watches this machine by `npm start`, survives kill -9, and ends by Ctrl-C', {
  timeout: 300_000,
}, async () => {
  const first = await start();
  expect(first.said()).not.toMatch(/EBADENGINE|deprecated|Error/);
  const servers = async () => (await get(first.token, '/servers')).servers;
  await expect.poll(async () => (await servers())[0]?.health_status, { timeout: 45_000 }).toBe('healthy');
  const server = (await servers())[0]!;
  const path = `/servers/${server.id}`;
  const metrics = async (token: string) => (await get(token, `${path}/metrics?period=1m`)).metrics;
  await expect.poll(async () => (await metrics(first.token)).length, { timeout: 45_000 }).toBeGreaterThan(0);
  const acknowledged = await metrics(first.token);
  // Collected at this moment, because other tests use memory too.
  const error = async (of: (row: Metrics) => number) => {
    await fetch(`http://127.0.0.1:${port}/api/v1/fleet${path}/metrics/collect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${first.token}` },
    });
    return Math.abs(of((await metrics(first.token))[0]!));
  };
  const usedPercent = () => 100 * (1 - freemem() / totalmem());
  await expect
    .poll(() => error(row => row.memory_percent - usedPercent()), { timeout: 30_000 })
    .toBeLessThan(3);
  await expect
    .poll(() => error(row => row.disk_percent - fullestDiskPercent()), { timeout: 30_000 })
    .toBeLessThan(3);
  for (const page of ['/', '/servers']) {
    const answer = await fetch(`http://127.0.0.1:${port}${page}`);
    expect([answer.status, await answer.text()], page).toEqual([200, expect.stringContaining('<title>')]);
  }

  const killed = once(first.child, 'exit');
  signalGroup(first.child, 'SIGKILL');
  await killed;

  const second = await start();
  expect(second.token).toBe(first.token);
  expect(second.link).not.toBe(first.link);
  expect(second.said()).not.toContain('Installing packages');
  expect(await metrics(second.token)).toEqual(expect.arrayContaining(acknowledged));
  const lastCheck = async () => (await get(second.token, path)).server.last_health_check_at;
  await expect.poll(lastCheck, { timeout: 45_000 }).not.toBe(server.last_health_check_at);

  const ended = once(second.child, 'exit');
  signalGroup(second.child, 'SIGINT');
  await ended;
  await expect(fetch(`http://127.0.0.1:${port}/health/live`)).rejects.toThrow();
  expect(existsSync(join(dataDir, 'pgdata', 'postmaster.pid'))).toBe(false);
});
