import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ask,
  dial,
  endAll,
  failure,
  pendingConnects,
  readAnswers,
  requestTo,
  start,
} from '../../test/client.ts';

afterEach(endAll);

describe('behaviour', () => {
  it.each([
    ['error', 500, 'internal'],
    ['unauthorized', 401, 'unauthorized'],
    ['degraded', 200, '"healthy":false'],
  ] as const)('%s answers %i', async (behaviour, status, text) => {
    const simulator = await start({ servers: 1, shares: { [behaviour]: { fraction: 1 } } });
    expect(await ask(simulator, 0)).toEqual({ status, body: expect.stringContaining(text) });
    expect(simulator.stats().cadence[behaviour]!.health.checks).toBe(1);
  });

  it('slow answers like healthy', async () => {
    const simulator = await start({
      servers: 1,
      slowMinMs: 1,
      slowMaxMs: 3,
      shares: { slow: { fraction: 1 } },
    });
    expect(await ask(simulator, 0)).toMatchObject({ status: 200 });
  });

  it('flapping is well for half a period and fails for the other', async () => {
    let monotonicMs = 0;
    const clock = { wallMs: () => 0, monotonicMs: () => monotonicMs };
    const shares = { flapping: { fraction: 1 } };
    const simulator = await start({ servers: 1, flapPeriodMs: 1_000, shares }, clock);
    const statuses = [];
    for (monotonicMs of [0, 499, 500, 999, 1_000]) statuses.push((await ask(simulator, 0)).status);
    expect(statuses).toEqual([200, 200, 500, 500, 200]);
  });

  it('reset resets the connection under the request', async () => {
    const simulator = await start({ servers: 1, shares: { reset: { fraction: 1 } } });
    const socket = dial(simulator, 0);
    socket.write(requestTo(simulator, 0));
    expect(await failure(socket)).toBe('ECONNRESET');
  });

  it('refuse has no listener', async () => {
    const simulator = await start({ servers: 2, shares: { refuse: { first: 1, last: 1 } } });
    expect(await failure(dial(simulator, 1))).toBe('ECONNREFUSED');
    expect(await ask(simulator, 0)).toMatchObject({ status: 200 });
  });

  it('hang takes the request and never answers, even when another follows', async () => {
    const simulator = await start({ servers: 1, shares: { hang: { fraction: 1 } } });
    const socket = dial(simulator, 0);
    const heard: unknown[] = [];
    socket.on('data', data => heard.push(data));
    socket.write(requestTo(simulator, 0));
    socket.end(requestTo(simulator, 0, '/api/v1/metrics/current'));
    // Our end of the stream follows both requests, so they were read when the server's end comes back.
    await once(socket, 'close');
    expect(heard).toEqual([]);
    const { cadence, traffic } = simulator.stats();
    expect(cadence.hang).toMatchObject({ health: { checks: 1 }, metrics: { checks: 1 } });
    expect(traffic).toMatchObject({ answers: {}, unanswered: 2 });
  });

  it('blackhole never completes a connect', async () => {
    const simulator = await start({ servers: 4, shares: { blackhole: { first: 1, last: 2 } } });
    const lost = [1, 1, 1, 2].map(index => dial(simulator, index));
    for (let round = 0; round < 10; round++) expect(await ask(simulator, 0)).toMatchObject({ status: 200 });
    expect(await pendingConnects(simulator, 1)).toBe(3);
    expect(await pendingConnects(simulator, 2)).toBe(1);
    expect(lost.map(socket => socket.connecting)).toEqual([true, true, true, true]);
  });
});

describe('setBehaviour', () => {
  it('opens a black hole and closes it again: the connect that was lost arrives in the end', async () => {
    const simulator = await start({ servers: 3, shares: { blackhole: { first: 1, last: 1 } } });
    await simulator.setBehaviour(0, 'blackhole');
    const lost = dial(simulator, 0);
    expect(await ask(simulator, 2)).toMatchObject({ status: 200 });
    expect(await pendingConnects(simulator, 0)).toBe(1);

    await simulator.setBehaviour(0, 'healthy');
    expect(await ask(simulator, 0)).toMatchObject({ status: 200 });
    // Only the kernel's own repetition of the dropped SYN can complete this one.
    await once(lost, 'connect');

    dial(simulator, 1);
    expect(await pendingConnects(simulator, 1)).toBe(1);
  });

  it('silences a connection that was open before its server became a black hole', async () => {
    const simulator = await start({ servers: 1 });
    const socket = dial(simulator, 0);
    socket.write(requestTo(simulator, 0));
    await readAnswers(socket, 1);
    await simulator.setBehaviour(0, 'blackhole');
    const heard: unknown[] = [];
    socket.on('data', data => heard.push(data));
    socket.end(requestTo(simulator, 0));
    await once(socket, 'close');
    expect(heard).toEqual([]);
  });

  it('refuses from now on, cuts what is open, and comes back', async () => {
    const simulator = await start({ servers: 3 });
    await simulator.setBehaviour(2, 'blackhole');
    const socket = dial(simulator, 0);
    await once(socket, 'connect');
    const cut = failure(socket);
    socket.write(requestTo(simulator, 0));
    await readAnswers(socket, 1);
    await simulator.setBehaviour(0, 'refuse');
    expect(await cut).toBe('ECONNRESET');
    expect(await failure(dial(simulator, 0))).toBe('ECONNREFUSED');
    expect(await ask(simulator, 1)).toMatchObject({ status: 200 });
    await simulator.setBehaviour(0, 'degraded');
    expect((await ask(simulator, 0)).body).toContain('"healthy":false');
    expect(simulator.stats().servers).toEqual({ healthy: 1, degraded: 1, blackhole: 1 });
    dial(simulator, 2);
    expect(await pendingConnects(simulator, 2)).toBe(1);
  });

  it('changes several servers at once', async () => {
    const simulator = await start({ servers: 6 });
    await Promise.all([0, 1, 2, 3].map(index => simulator.setBehaviour(index, 'blackhole')));
    await Promise.all([0, 1].map(index => simulator.setBehaviour(index, 'healthy')));
    expect(simulator.stats().servers).toEqual({ healthy: 4, blackhole: 2 });
    expect(await ask(simulator, 1)).toMatchObject({ status: 200 });
    dial(simulator, 2);
    expect(await pendingConnects(simulator, 2)).toBe(1);
  });

  it('refuses a server that does not exist', async () => {
    const simulator = await start({ servers: 1 });
    await expect(simulator.setBehaviour(1, 'error')).rejects.toThrow('There is no server 1');
  });
});
