import { beforeEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../../test/fakes/clock.ts';
import { metricsBody } from '../../test/fakes/managed-server.ts';
import { polledServer } from '../../test/fakes/polled-server.ts';
import type { CheckOutcome } from '../health/check.ts';
import { type HealthState, uncheckedState } from '../health/evaluate.ts';
import {
  createEgress,
  type Egress,
  type EgressFailure,
  type EgressReply,
} from '../platform/egress/client.ts';
import { createEgressPolicy } from '../platform/egress/policy.ts';
import { createInstruments } from '../platform/instruments.ts';
import { Secret } from '../platform/keyring.ts';
import type { SealedServerToken } from '../secrets/secrets.ts';
import { type PollParts, pollHealth, pollMetrics } from './polls.ts';
import { createEntry, type Entry, storedToken } from './roster.ts';
import type { Look } from './second-look.ts';
import { createSight, sightPolicy } from './sight.ts';
import type { HealthWrite } from './store.ts';
import { isUnanswered } from './witness.ts';

const start = new Date('2026-11-01T00:00:00Z');
const after = (ms: number): Date => new Date(start.getTime() + ms);
const counts = { performed: 0, successful: 0, failed: 0, lastRun: null, lastDurationSeconds: null };

let clock: FakeClock;
let parts: PollParts;
let entry: Entry;
/** What it was asked, and what was handed over to be stored. */
let paths: string[];
let written: HealthWrite[];
let collected: number;
/** Which rows of history were handed over. */
let history: { health: string[]; metrics: number };
let messages: (string | null)[];
/** What somebody else is asked to look at. */
let look: Look | null;
/** Answers what was asked last. */
let answer: (reply: EgressReply | EgressFailure) => void;

const reply: EgressReply = {
  ok: true,
  status: 503,
  headers: {},
  body: Buffer.from(''),
  durationMs: 1,
  remoteAddress: '192.0.2.1',
};
const localFault: EgressFailure = { ok: false, reason: 'local_fault', detail: 'No sockets.', durationMs: 1 };

beforeEach(() => {
  clock = createFakeClock(start);
  [paths, written, collected, look] = [[], [], 0, null];
  history = { health: [], metrics: 0 };
  messages = [];
  const egress: Egress = {
    ...createEgress({ policy: createEgressPolicy({ purpose: 'poll' }), clock, keepAliveMs: 1 }),
    get({ url }) {
      paths.push(url.href);
      return new Promise(resolve => {
        answer = resolve;
      });
    },
  };
  parts = {
    clock,
    egress,
    openToken: () => ({ ok: true, token: new Secret('a-token') }),
    instruments: createInstruments(),
    results: {
      health(row, write) {
        history.health.push(row.status);
        messages.push(row.errorMessage);
        if (write !== null) written.push(write);
      },
      metrics(row, write) {
        if (row !== null) history.metrics += 1;
        if (write !== null) collected += 1;
      },
    },
    healthIntervalMs: 30_000,
    sight: createSight(sightPolicy(30_000)),
    onDoubt: () => undefined,
    secondLook: { begin: () => look },
    stats: { health: { ...counts }, metrics: { ...counts, valuesCollected: 0 } },
    nextSeq: () => written.length + 1,
  };
  const state: HealthState = {
    ...uncheckedState(start),
    status: 'healthy',
    reason: 'ok',
    lastCheckedAt: start,
  };
  // What is in the token does not matter: opening it is another part's work.
  entry = createEntry(polledServer(start, { state }), 1, {} as SealedServerToken, egress);
});

describe('a health check', () => {
  it('is judged by the interval of its server', async () => {
    for (const [intervalMs, status] of [
      [null, 'healthy'],
      [5_000, 'unknown'],
    ] as const) {
      entry.server.intervalMs = { health: intervalMs, metrics: null };
      clock.stall(16_000);
      const done = pollHealth(parts, entry, null);
      answer(localFault);
      await done;
      expect(written.at(-1)!.state.status).toBe(status);
    }
  });

  it('of an address that the server has left meanwhile says nothing of the server', async () => {
    const done = pollHealth(parts, entry, null);
    const moved = { ...entry.server, apiUrl: 'https://elsewhere.example.com' };
    entry.server = moved;
    answer(reply);
    expect(await done).toBeNull();
    expect([written, history.health, entry.server]).toEqual([[], [], moved]);
  });

  it('whose server went to another worker meanwhile is kept as history, and judged by nobody', async () => {
    const done = pollHealth(parts, entry, null);
    entry.gone = true;
    answer(reply);
    expect(await done).toBeNull();
    expect([written, history.health]).toEqual([[], ['critical']]);
    expect(entry.server.state.consecutiveFailures).toBe(0);
    expect(parts.stats.health.performed).toBe(1);
  });

  it('opens the token of its server once, until another one is stored', async () => {
    let opened = 0;
    const sent: (string | undefined)[] = [];
    parts = {
      ...parts,
      openToken: () => ({ ok: true, token: new Secret(`token-${(opened += 1)}`) }),
      egress: {
        ...parts.egress,
        get({ headers }) {
          sent.push(headers?.['authorization']);
          return Promise.resolve(reply);
        },
      },
    };
    await pollHealth(parts, entry, null);
    await pollHealth(parts, entry, null);
    entry.token = storedToken({ version: 2 } as SealedServerToken);
    await pollHealth(parts, entry, null);
    expect(sent).toEqual(['Bearer token-1', 'Bearer token-1', 'Bearer token-2']);
  });

  it('sends nothing where its token cannot be opened, and says so each time', async () => {
    parts = { ...parts, openToken: () => ({ ok: false, reason: 'origin_changed' }) };
    for (let check = 0; check < 2; check += 1) await pollHealth(parts, entry, null);
    expect([paths, history.health]).toEqual([[], ['error', 'error']]);
  });

  it('that was broken off says nothing of the server, whoever has it', async () => {
    const done = pollHealth(parts, entry, null);
    entry.gone = true;
    answer({ ok: false, reason: 'aborted', detail: '', durationMs: 1 });
    await done;
    expect([written, history.health]).toEqual([[], []]);
  });

  describe('that is held up with this process', () => {
    const noAnswer: EgressFailure = { ok: false, reason: 'unreachable', detail: 'No route.', durationMs: 1 };

    it.each([
      ['by the clock that never jumps', () => clock.stall(32_000)],
      ['by the one on the wall, as where the machine was suspended', () => clock.setWall(after(32_000))],
    ])('says nothing where nobody answered it, %s', async (_name, holdUp) => {
      const weighed: CheckOutcome[] = [];
      look = { weigh: async own => (weighed.push(own.outcome), own), giveUp: () => undefined };
      const seen: boolean[] = [];
      parts.sight = { ...parts.sight, see: ({ reached }) => seen.push(reached) };
      entry.server.state = { ...entry.server.state, consecutiveFailures: 2, lastSeenAt: start };
      const done = pollHealth(parts, entry, null);
      holdUp();
      answer(noAnswer);
      await done;
      expect(history.health).toEqual(['error']);
      expect(messages).toEqual(['No route.; this process was held up meanwhile, or its clock set, by 32 s']);
      expect(written).toMatchObject([{ state: { status: 'healthy', consecutiveFailures: 2 } }]);
      // Another worker would look now, and the check is dated then; and nothing is to be said of our sight.
      expect([weighed.some(isUnanswered), seen]).toEqual([false, []]);
    });

    it('counts where the server answered, and where it took only as long as a check may take', async () => {
      let done = pollHealth(parts, entry, null);
      clock.stall(32_000);
      answer(reply);
      await done;
      done = pollHealth(parts, entry, null);
      clock.stall(10_500);
      answer(noAnswer);
      await done;
      expect(history.health).toEqual(['critical', 'unreachable']);
    });
  });

  it('counts although something else of its server was changed meanwhile', async () => {
    const done = pollHealth(parts, entry, null);
    entry.server = { ...entry.server, name: 'renamed' };
    answer(reply);
    await done;
    expect(written).toMatchObject([{ name: 'renamed', state: { consecutiveFailures: 1 } }]);
  });

  it('hands over the components when they have changed, and now and then as they are', async () => {
    const told = async (redis: string): Promise<boolean> => {
      const done = pollHealth(parts, entry, null);
      const body = { database: { status: 'healthy' }, redis: { status: redis }, at: written.length };
      answer({ ...reply, status: 200, body: Buffer.from(JSON.stringify(body)) });
      await done;
      return written.at(-1)!.components !== null;
    };
    expect([await told('healthy'), await told('healthy')]).toEqual([true, false]);
    expect([await told('failed'), await told('failed'), await told('healthy')]).toEqual([true, false, true]);
    const later = [];
    for (let count = 0; count < 240; count += 1) later.push(await told('healthy'));
    expect(later.filter(Boolean)).toHaveLength(2);
  });

  describe('that may call the server unreachable', () => {
    const noAnswer: EgressFailure = { ok: false, reason: 'timeout', detail: 'No connection.', durationMs: 1 };
    const answered: CheckOutcome = {
      kind: 'answered',
      status: 'healthy',
      reason: 'ok',
      detail: 'measured by another worker',
      components: {},
      version: '2',
    };
    /** The last of three failures, and what comes of somebody else's look at the server. */
    async function lastFailure(weighed: Look['weigh']): Promise<void> {
      let wasGivenUp = false;
      look = { weigh: weighed, giveUp: () => (wasGivenUp = true) };
      entry.server.state = { ...entry.server.state, consecutiveFailures: 2, lastSeenAt: start };
      const done = pollHealth(parts, entry, null);
      answer(noAnswer);
      await done;
      expect(wasGivenUp).toBe(false);
    }

    it('does so where nobody else contradicts', async () => {
      await lastFailure(async own => own);
      expect(written).toMatchObject([{ state: { status: 'unreachable', reason: 'timeout' } }]);
    });

    it('counts as what another worker found, where that was an answer', async () => {
      await lastFailure(async () => ({ outcome: answered, durationMs: 20 }));
      expect(written).toMatchObject([
        {
          state: { status: 'healthy', consecutiveFailures: 0, detail: 'measured by another worker' },
          responseTimeMs: 20,
          version: '2',
          changes: [],
        },
      ]);
    });

    it('is history and judges nobody where we end before the other has answered, or the server goes', async () => {
      const aborted: CheckOutcome = { kind: 'not_checked', reason: 'aborted', detail: 'ending' };
      await lastFailure(async () => ({ outcome: aborted, durationMs: 0 }));
      await lastFailure(async own => {
        entry.gone = true;
        return own;
      });
      expect([written, history.health]).toEqual([[], ['unreachable', 'unreachable']]);
      expect(entry.server.state.consecutiveFailures).toBe(2);
    });

    it('says nothing where the server moves', async () => {
      await lastFailure(async own => {
        entry.server = { ...entry.server, apiUrl: 'https://elsewhere.example.com' };
        return own;
      });
      expect(written).toEqual([]);
    });

    it('is not looked at by anybody else where our own check is void', async () => {
      let wasGivenUp = false;
      look = { weigh: () => Promise.reject(new Error('not to be asked')), giveUp: () => (wasGivenUp = true) };
      const done = pollHealth(parts, entry, null);
      entry.gone = true;
      answer(noAnswer);
      expect([await done, wasGivenUp]).toEqual([null, true]);
    });
  });

  it('hands over what has changed, that it flaps first', async () => {
    // More change than 30 %, of which nothing has been said yet.
    const recent = { recentResults: 0b1010_1010_1011, knownResults: 21, consecutiveFailures: 2 };
    entry.server.state = { ...entry.server.state, ...recent, flappingSince: null };
    const done = pollHealth(parts, entry, null);
    answer(reply);
    await done;
    expect(written[0]!.changes).toEqual([
      { isFlapping: true, percent: expect.any(Number), at: start },
      { from: 'healthy', to: 'critical', reason: 'http_503', flapping: true, at: start },
    ]);
  });
});

describe('a collection of metrics', () => {
  const collect = async (asked: Date | null): Promise<void> => {
    const done = pollMetrics(parts, entry, asked);
    if (paths.length > 0) answer(reply);
    await done;
  };

  it.each([
    ['well', {}, 1],
    ['unreachable', { status: 'unreachable' }, 0],
    ['critical, but reachable', { status: 'critical' }, 1],
    ['spared', { status: 'critical', breakerOpenedAt: start }, 0],
  ] as const)('of a server that is %s', async (_name, state, expected) => {
    entry.server.state = { ...entry.server.state, ...state };
    await collect(null);
    expect([paths.length, collected]).toEqual([expected, expected]);
  });

  it('of a server that went to another worker meanwhile is kept as history alone', async () => {
    const done = pollMetrics(parts, entry, null);
    entry.gone = true;
    answer({ ...reply, status: 200, body: Buffer.from(JSON.stringify(metricsBody)) });
    await done;
    expect([collected, history.metrics]).toEqual([0, 1]);
  });

  it('is made wherever somebody asks for it', async () => {
    entry.server.state = { ...entry.server.state, status: 'unreachable', breakerOpenedAt: start };
    await collect(start);
    expect(collected).toBe(1);
  });
});
