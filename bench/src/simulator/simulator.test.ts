import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { ask, dial, dialTls, endAll, failure, readAnswers, requestTo, start } from '../../test/client.ts';
import { addressOf } from './identity.ts';
import { startSimulator } from './simulator.ts';

afterEach(endAll);

describe('a simulated server', () => {
  it('is the one at its address: it takes its own token and no other', async () => {
    const simulator = await start({ servers: 3 });
    const [first, , third] = simulator.targets;
    expect(await ask(simulator, 2)).toMatchObject({ status: 200 });

    const socket = dial(simulator, 0);
    const fields = [`Bearer ${third!.token}`, `Bearer ${first!.token}x`, 'Bearer ', `Basic ${first!.token}`];
    for (const field of fields) socket.write(`GET /health HTTP/1.1\r\nAuthorization: ${field}\r\n\r\n`);
    socket.write('GET /health HTTP/1.1\r\n\r\n');
    const answers = await readAnswers(socket, fields.length + 1);
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    expect(simulator.stats().cadence.healthy!.health.checks).toBe(1);
  });

  it('answers both endpoints with JSON, and 404 elsewhere', async () => {
    const simulator = await start({ servers: 1 });
    expect(JSON.parse((await ask(simulator, 0)).body)).toHaveProperty('services.healthy', true);
    expect(JSON.parse((await ask(simulator, 0, '/api/v1/metrics/current')).body)).toHaveProperty(
      'cpu_percent',
    );
    expect(await ask(simulator, 0, '/api/v1/metrics')).toMatchObject({ status: 404 });
  });

  it('keeps the connection, and answers pipelined requests in order', async () => {
    const simulator = await start({ servers: 1, latencyMs: 1 });
    const socket = dial(simulator, 0);
    for (let round = 0; round < 2; round++) {
      socket.write(
        requestTo(simulator, 0) +
          requestTo(simulator, 0, '/api/v1/metrics/current') +
          requestTo(simulator, 0, '/no'),
      );
      const [health, metrics, missing] = await readAnswers(socket, 3);
      expect(health!.body).toContain('database');
      expect(metrics!.body).toContain('cpu_percent');
      expect(missing!.status).toBe(404);
    }
    expect(simulator.stats().traffic).toMatchObject({ connectionsAccepted: 1, answers: { 200: 4, 404: 2 } });
  });

  it('understands a request that arrives byte by byte', async () => {
    const simulator = await start({ servers: 1 });
    const socket = dial(simulator, 0);
    socket.setNoDelay(true);
    for (const byte of requestTo(simulator, 0)) {
      await new Promise(resolve => {
        socket.write(byte, resolve);
      });
    }
    expect(await readAnswers(socket, 1)).toMatchObject([{ status: 200 }]);
  });

  it('closes the connection when asked to, when set to, and after a request it cannot read', async () => {
    const simulator = await start({ servers: 1 });
    const polite = dial(simulator, 0);
    polite.write(requestTo(simulator, 0, '/health', 'Connection: close\r\n'));
    expect(await readAnswers(polite, 1)).toMatchObject([{ status: 200 }]);
    await once(polite, 'end');

    const closing = await start({ servers: 1, closes: true });
    const kept = dial(closing, 0);
    kept.write(requestTo(closing, 0));
    expect(await readAnswers(kept, 1)).toMatchObject([{ status: 200 }]);
    await once(kept, 'end');

    const broken = dial(simulator, 0);
    broken.write(`POST /health HTTP/1.1\r\n\r\n${requestTo(simulator, 0)}`);
    expect(await readAnswers(broken, 1)).toMatchObject([{ status: 405 }]);
    await once(broken, 'end');
  });

  it('cuts off a client that pipelines without end', async () => {
    const simulator = await start({ servers: 1, shares: { hang: { fraction: 1 } } });
    const socket = dial(simulator, 0);
    socket.write(requestTo(simulator, 0).repeat(65));
    await once(socket, 'close');
    expect(simulator.stats().traffic).toMatchObject({ connectionsOpen: 0, unanswered: 65 });
  });
});

describe('a part of a fleet', () => {
  it('has the addresses and tokens of its place in the whole, and nobody else is there', async () => {
    const whole = await start({ servers: 300 });
    const part = await start({ servers: 2, first: 255 });
    expect(part.targets.map(({ index, address, token }) => ({ index, address, token }))).toEqual(
      whole.targets.slice(255, 257).map(({ index, address, token }) => ({ index, address, token })),
    );
    expect(await ask(part, 1)).toMatchObject({ status: 200 });
    expect(part.answered('health')).toEqual([0, 1]);
    expect(part.answered('metrics')).toEqual([0, 0]);

    const before = dial(part, addressOf(254));
    before.write(requestTo(part, 0));
    await once(before, 'close');
    expect(part.stats().traffic).toMatchObject({ connectionsAccepted: 1, answers: { 200: 1 } });
  });

  it('answers at one address of many without a descriptor for each', async () => {
    const simulator = await start({ servers: 30_000 });
    expect(await ask(simulator, 29_999)).toMatchObject({ status: 200 });
  });
});

describe('a fleet that speaks https', () => {
  it('has a certificate for each address, and remembers sessions', async () => {
    const simulator = await start({ servers: 70, tls: true });
    expect(simulator.targets[69]!.url).toMatch(/^https:/);
    for (const place of [0, 69, 69]) {
      const socket = dialTls(simulator, place);
      socket.write(requestTo(simulator, place));
      expect(await readAnswers(socket, 1)).toMatchObject([{ status: 200 }]);
      expect(socket.authorized).toBe(true);
    }
    expect(simulator.stats().handshakes).toEqual({ full: 2, resumed: 1 });
    expect((await start({ servers: 1 })).stats().handshakes).toBeUndefined();
  });

  it('can be made to resume no session', async () => {
    const simulator = await start({ servers: 1, tls: true, resumption: false });
    for (let time = 0; time < 2; time++) {
      const socket = dialTls(simulator, 0);
      socket.write(requestTo(simulator, 0));
      await readAnswers(socket, 1);
    }
    expect(simulator.stats().handshakes).toEqual({ full: 2, resumed: 0 });
  });

  it('resets, hangs and refuses like any other', async () => {
    const simulator = await start({ servers: 2, tls: true, shares: { reset: { first: 0, last: 0 } } });
    const socket = dialTls(simulator, 0);
    socket.write(requestTo(simulator, 0));
    expect(await failure(socket)).toBe('ECONNRESET');
    await simulator.setBehaviour(1, 'refuse');
    expect(await failure(dial(simulator, 1))).toBe('ECONNREFUSED');
  });
});

describe('stats', () => {
  it('judges the schedule by the clock, from arrivals', async () => {
    let monotonicMs = 0;
    const clock = { wallMs: () => 0, monotonicMs: () => monotonicMs };
    const simulator = await start({ servers: 2 }, clock);
    for (monotonicMs of [0, 30_000, 63_000, 70_000]) await ask(simulator, 1);
    expect(simulator.recentArrivalsMs(1, 'health')).toEqual([0, 30_000, 63_000, 70_000]);
    expect(simulator.stats().cadence.healthy!.health).toMatchObject({
      servers: 2,
      neverChecked: 1,
      checks: 4,
      latenessMs: { max: 3_000 },
      late: 1,
      early: 1,
      overlaps: 0,
    });
    simulator.resetStats();
    expect(simulator.stats()).toMatchObject({
      elapsedMs: 0,
      cadence: { healthy: { health: { checks: 0 } } },
    });
  });

  it('sees checks that overlap on one connection and on two, and none after an answer', async () => {
    const simulator = await start({ servers: 2, shares: { hang: { first: 1, last: 1 } } });
    const pipelining = dial(simulator, 0);
    pipelining.write(requestTo(simulator, 0) + requestTo(simulator, 0));
    await readAnswers(pipelining, 2);
    pipelining.write(requestTo(simulator, 0));
    await readAnswers(pipelining, 1);
    expect(simulator.stats().cadence.healthy!.health.overlaps).toBe(1);

    const [first, second] = [dial(simulator, 1), dial(simulator, 1)];
    for (const socket of [first, second]) socket.write(requestTo(simulator, 1));
    for (const socket of [first, second]) socket.end();
    await Promise.all([once(first, 'close'), once(second, 'close')]);
    const third = dial(simulator, 1);
    third.end(requestTo(simulator, 1));
    await once(third, 'close');
    expect(simulator.stats().cadence.hang!.health).toMatchObject({ checks: 3, overlaps: 1 });
  });
});

describe('startSimulator', () => {
  it('fails when its port is taken, and leaves the other simulator and nothing else', async () => {
    const first = await start({ servers: 2 });
    const options = { servers: 4, port: first.port, shares: { blackhole: { first: 3, last: 3 } } };
    await expect(startSimulator(options)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(await ask(first, 1)).toMatchObject({ status: 200 });

    await first.stop();
    const third = await start(options);
    expect(await ask(third, 2)).toMatchObject({ status: 200 });
  });

  it('fails when a black hole finds its address taken', async () => {
    const first = await start({ servers: 1 });
    const options = { servers: 1, port: first.port, shares: { blackhole: { fraction: 1 } } };
    await expect(startSimulator(options)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('fails when its shares do not fit', async () => {
    await expect(startSimulator({ servers: 1, shares: { hang: { first: 1, last: 1 } } })).rejects.toThrow(
      'shares.hang: the last server is 0',
    );
  });
});
