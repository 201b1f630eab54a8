import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from './app.ts';

const run = promisify(execFile);

/** As documented for the first clients of this API: only the address, the token and the id are filled in. */
const examples = {
  register: `curl -X POST "https://ops-center.example.com/api/v1/fleet/servers" \\
  -H "Authorization: Bearer $TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "prod-east-1",
    "hostname": "prod-east-1.example.com",
    "api_url": "https://prod-east-1.example.com",
    "api_token": "secret_token_here",
    "region": "us-east-1",
    "environment": "production",
    "tags": ["production", "critical"]
  }'`,
  list: `curl "https://ops-center.example.com/api/v1/fleet/servers" \\
  -H "Authorization: Bearer $TOKEN"`,
  summary: `curl "https://ops-center.example.com/api/v1/fleet/summary" \\
  -H "Authorization: Bearer $TOKEN"`,
  check: `curl -X POST "https://ops-center.example.com/api/v1/fleet/servers/{server_id}/health-check" \\
  -H "Authorization: Bearer $TOKEN"`,
  metrics: `curl "https://ops-center.example.com/api/v1/fleet/servers/{server_id}/metrics?period=1m&limit=1440" \\
  -H "Authorization: Bearer $TOKEN"`,
};

let test: TestApp;
let token: string;
let serverId: string;
const lookedUp: string[] = [];

beforeAll(async () => {
  test = await startTestApp({
    settings: { role: 'all' },
    app: {
      // Nothing leaves the machine: no name is known.
      lookup: hostname => {
        lookedUp.push(hostname);
        return Promise.reject(Object.assign(new Error(`no such name: ${hostname}`), { code: 'ENOTFOUND' }));
      },
    },
  });
  token = (await test.as('admin')).token;
});
afterAll(() => test.close());

/** Runs an example in a shell, as a reader would, and returns the status and the parsed body. */
async function curl(example: string) {
  const script = example
    .replace('https://ops-center.example.com', test.url)
    .replace('{server_id}', serverId)
    .replace(/^curl/, `curl -sS -w '\\n%{http_code}'`);
  const { stdout } = await run('sh', ['-c', script], { env: { PATH: process.env['PATH'], TOKEN: token } });
  const lines = stdout.trimEnd().split('\n');
  return { status: Number(lines.pop()), body: JSON.parse(lines.join('\n')) };
}

describe('the five examples, one after the other', () => {
  it('register a server', async () => {
    const { status, body } = await curl(examples.register);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      success: true,
      server: {
        name: 'prod-east-1',
        region: 'us-east-1',
        tags: ['production', 'critical'],
        health_status: 'unknown',
      },
    });
    expect(JSON.stringify(body)).not.toContain('secret_token_here');
    serverId = body.server.id;
  });

  it('list it', async () => {
    const { status, body } = await curl(examples.list);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      count: 1,
      limit: 100,
      offset: 0,
      servers: [{ id: serverId, environment: 'production' }],
    });
  });

  it('sum up the fleet', async () => {
    const { status, body } = await curl(examples.summary);
    expect(status).toBe(200);
    expect(body.summary).toMatchObject({
      total_servers: 1,
      active_servers: 1,
      regions_count: 1,
      environments_count: 1,
    });
  });

  it('check it, and learn that nobody knows its name', async () => {
    const { status, body } = await curl(examples.check);
    expect(status).toBe(200);
    expect(body).toMatchObject({ server_id: serverId, status: 'unreachable', reason: 'dns_failed' });
    expect(new Set(lookedUp)).toEqual(new Set(['prod-east-1.example.com']));
  });

  it('read a day of metrics, of which there are none yet', async () => {
    const { status, body } = await curl(examples.metrics);
    expect(status).toBe(200);
    expect(body).toMatchObject({ server_id: serverId, period: '1m', metrics: [], count: 0 });
  });
});
