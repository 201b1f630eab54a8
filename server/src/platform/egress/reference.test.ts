import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../clock.ts';
import { createEgress, type Egress } from './client.ts';
import { createEgressPolicy } from './policy.ts';
import { askReference, parseReference, type Reference, referencePolicy } from './reference.ts';
import { parseHostPort } from './url.ts';

let egress: Egress;
let servers: Server[];
beforeEach(() => {
  servers = [];
  egress = createEgress({ policy: referencePolicy, clock: systemClock, keepAliveMs: 0 });
});
afterEach(async () => {
  await egress.close();
  for (const server of servers) server.close();
});

async function listening(server: Server): Promise<number> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
function reference(text: string): Reference {
  const parsed = parseReference(text);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.reference;
}
/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  server.close();
  await once(server, 'close');
  return port;
}

describe('a reference by host and port', () => {
  it('is there where it takes a connection, and hears nothing on it', async () => {
    const heard = Promise.withResolvers<string>();
    const port = await listening(
      createServer(socket => {
        let text = '';
        socket.on('data', bytes => (text += bytes.toString()));
        socket.on('close', () => heard.resolve(text));
      }),
    );
    expect(await askReference(egress, reference(`127.0.0.1:${port}`))).toBe(true);
    expect(await heard.promise).toBe('');
  });

  it('is not where it refuses', async () => {
    expect(await askReference(egress, reference(`127.0.0.1:${await closedPort()}`))).toBe(false);
  });

  it('is not where its name leads nowhere', async () => {
    const lookup = () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
    const lost = createEgress({ policy: referencePolicy, clock: systemClock, keepAliveMs: 0, lookup });
    expect(await askReference(lost, reference('gateway.internal:53'))).toBe(false);
    await lost.close();
  });
});

describe('a reference by http', () => {
  it.each([200, 302, 404, 503])('is there where it answers %i', async status => {
    const port = await listening(
      createHttpServer((_request, response) => void response.writeHead(status).end('x'.repeat(100_000))),
    );
    expect(await askReference(egress, reference(`http://127.0.0.1:${port}/up`))).toBe(true);
  });

  it('is not where nothing comes of the connection', async () => {
    const port = await listening(createServer(socket => void socket.destroy()));
    expect(await askReference(egress, reference(`http://127.0.0.1:${port}`))).toBe(false);
  });
});

it('tells nothing once we end', async () => {
  const port = await listening(createServer());
  await egress.close();
  expect(await askReference(egress, reference(`127.0.0.1:${port}`))).toBeNull();
  expect(await askReference(egress, reference(`http://127.0.0.1:${port}`))).toBeNull();
});

it('is connected to under the policy of its egress, whoever made the address', async () => {
  const port = await listening(createServer());
  const guarded = createEgress({
    policy: createEgressPolicy({ purpose: 'poll' }),
    clock: systemClock,
    keepAliveMs: 0,
  });
  const parsed = parseHostPort(`127.0.0.1:${port}`, referencePolicy);
  expect(parsed.ok && (await guarded.connect(parsed.url, 1_000))).toMatchObject({ reason: 'policy_denied' });
  await guarded.close();
});
