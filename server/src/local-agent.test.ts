import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../test/app.ts';
import { enrolLocalAgent, type LocalAgent, startLocalAgent } from './local-agent.ts';
import { systemClock } from './platform/clock.ts';
import { createLog } from './platform/log.ts';

const log = createLog({ level: 'silent' });
let dataDir: string;
const running: LocalAgent[] = [];

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-agent-'));
});
afterEach(async () => {
  for (const agent of running.splice(0)) await agent.stop();
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

const start = async (): Promise<LocalAgent> => {
  const agent = await startLocalAgent({ dataDir, clock: systemClock, log });
  running.push(agent);
  return agent;
};
const health = (agent: LocalAgent, token = agent.token) =>
  fetch(`${agent.url}/health`, { headers: { authorization: `Bearer ${token}` } });

describe('the agent for this machine', () => {
  it('answers on loopback, to its own token only', async () => {
    const agent = await start();
    expect(agent.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await health(agent)).status).toBe(200);
    expect((await health(agent, 'x'.repeat(40))).status).toBe(401);
  });

  it('keeps its port and its token from one start to the next', async () => {
    const first = await start();
    await first.stop();
    const second = await start();
    expect([second.port, second.token]).toEqual([first.port, first.token]);
  });

  it('moves where somebody else took its port', async () => {
    const first = await start();
    await first.stop();
    const squatter = createServer().listen(first.port, '127.0.0.1');
    await once(squatter, 'listening');
    const second = await start();
    expect(second.port).not.toBe(first.port);
    expect(await readFile(join(dataDir, 'agent-port'), 'utf8')).toBe(`${second.port}\n`);
    squatter.close();
  });

  it('is started again when it ends by itself', async () => {
    const agent = await start();
    const first = agent.pid()!;
    process.kill(first, 'SIGKILL');
    await expect.poll(() => agent.pid(), { timeout: 10_000 }).not.toBe(first);
    await expect
      .poll(async () => (await health(agent).catch(() => null))?.status, { timeout: 10_000 })
      .toBe(200);
  });

  it('ends when its parent is killed', async () => {
    const script = `
      import { startLocalAgent } from ${JSON.stringify(join(import.meta.dirname, 'local-agent.ts'))};
      import { systemClock } from ${JSON.stringify(join(import.meta.dirname, 'platform/clock.ts'))};
      import { createLog } from ${JSON.stringify(join(import.meta.dirname, 'platform/log.ts'))};
      const agent = await startLocalAgent({ dataDir: ${JSON.stringify(dataDir)}, clock: systemClock, log: createLog({ level: 'silent' }) });
      console.log(agent.url);`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [url] = (await once(parent.stdout, 'data')) as [Buffer];
    const gone = once(parent, 'exit');
    parent.kill('SIGKILL');
    await gone;
    const isGone = () =>
      fetch(`${String(url).trim()}/health`).then(
        () => false,
        () => true,
      );
    await expect.poll(isGone, { timeout: 10_000 }).toBe(true);
  });
});

describe('enrolling it', () => {
  let test: TestApp;
  beforeAll(async () => {
    test = await startTestApp();
  });
  afterAll(() => test.close());

  it('makes this machine one server, however often we start, and follows it to another port', async () => {
    const { context } = test.app;
    const organizationId = await test.organization('default');
    const admin = await test.as('admin');
    const agent = { ...(await start()), stop: async () => undefined };
    const enrol = (changes: Partial<LocalAgent> = {}) =>
      enrolLocalAgent(context, organizationId, { agent: { ...agent, ...changes }, pin: 'this-installation' });
    const name = await enrol();
    expect(await enrol()).toBe(name);
    const list = async () => (await admin.get('/api/v1/fleet/servers')).body.servers;
    expect(await list()).toHaveLength(1);
    await enrol({ url: 'http://127.0.0.1:4711', port: 4711 });
    expect(await list()).toMatchObject([{ name, api_url: 'http://127.0.0.1:4711' }]);
  });

  it('takes another name where its own is taken', async () => {
    const { context } = test.app;
    const agent = await start();
    const admin = await test.as('admin', 'elsewhere');
    const { hostname } = await import('node:os');
    const taken = {
      name: hostname(),
      hostname: 'other.example.com',
      api_url: 'https://other.example.com',
      api_token: 't',
    };
    expect((await admin.post('/api/v1/fleet/servers', taken)).status).toBe(201);
    const name = await enrolLocalAgent(context, await test.organization('elsewhere'), {
      agent,
      pin: 'another',
    });
    expect(name).toBe(`${hostname()} (opsfleet)`);
  });

  it('makes each installation that runs an agent on one machine a server of its own', async () => {
    const { context } = test.app;
    const organizationId = await test.organization('shared');
    const names: string[] = [];
    for (const [index, pin] of ['1st-installation', '2nd-installation', '3rd-installation'].entries()) {
      const agent = { url: `http://127.0.0.1:${4800 + index}`, token: 'agent-token' };
      names.push(await enrolLocalAgent(context, organizationId, { agent, pin }));
    }
    const { hostname } = await import('node:os');
    expect(names).toEqual([hostname(), `${hostname()} (opsfleet)`, `${hostname()} (opsfleet 3rd-inst)`]);
  });
});
