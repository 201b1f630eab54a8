import pg from 'pg';
import type { Clock } from './clock.ts';
import { isConnectionFailure } from './database-failure.ts';
import type { Log } from './log.ts';

/** A pooled connection as the watch sees it. */
export type Watched = {
  /** Of its backend; null until it has told. */
  pid: number | null;
  sever(): void;
};

export type Watch = {
  /** Watches over one statement of the connection until it is answered. */
  over<T>(watched: Watched, answer: Promise<T>): Promise<T>;
};

export type WatchOptions = {
  clock: Clock;
  log: Log;
  /** Asks the database what it is doing. */
  look(): Promise<Look>;
  /** The database does not answer. */
  onAway(): void;
};

const tickMs = 200;
const silentMs = 500;
const probeTimeoutMs = 1_000;

/** Statements on their way, when the connection last said anything, and whether the database knows nothing of them. */
type Waiting = { statements: number; sinceMs: number; isDoubted: boolean };

/** What the database is doing: the backends that work, that it is there (and nothing more), or nothing at all. */
export type Look = { working: ReadonlySet<number> } | 'there' | 'away';

/**
 * Tells a database that is slow from one that is gone. A line that swallows everything gives no error for many
 * minutes, and a deadline of the server cannot reach us over it. So, when a connection has been silent for half a
 * second, the database is asked on a new one what that backend is doing. Where it works, its answer will come, or
 * its statement_timeout; where it does not and the answer is not here a moment later either, or where the
 * database does not answer the question, the connection is ended, and whoever waits for it hears of it: within
 * two seconds of the statement. Slow statements are never ended by this.
 */
export function createWatch({ clock, log, look, onAway }: WatchOptions): Watch {
  const waiting = new Map<Watched, Waiting>();
  let isRunning = false;

  async function run(): Promise<void> {
    isRunning = true;
    while (waiting.size > 0) {
      await clock.sleep(tickMs);
      const nowMs = clock.monotonicMs();
      const silent = [...waiting].filter(([, { sinceMs }]) => nowMs - sinceMs >= silentMs);
      if (silent.length > 0) judge(silent, nowMs, await look());
    }
    isRunning = false;
  }

  function judge(silent: readonly (readonly [Watched, Waiting])[], askedMs: number, found: Look): void {
    if (found === 'away') onAway();
    for (const [watched, state] of silent) {
      // It has said something while we asked.
      if (waiting.get(watched) !== state || state.sinceMs > askedMs) continue;
      const isWorking = found !== 'away' && (found === 'there' || found.working.has(watched.pid ?? -1));
      if (isWorking) {
        state.sinceMs = askedMs;
        state.isDoubted = false;
      } else if (found === 'away' || state.isDoubted) {
        log.warn({ backend: watched.pid }, 'a database connection has gone silent and is given up');
        waiting.delete(watched);
        watched.sever();
      } else {
        // Its answer may be on its way to us.
        state.isDoubted = true;
      }
    }
  }

  return {
    async over(watched, answer) {
      const state = waiting.get(watched) ?? { statements: 0, sinceMs: 0, isDoubted: false };
      if (state.statements === 0) {
        state.sinceMs = clock.monotonicMs();
        waiting.set(watched, state);
      }
      state.statements += 1;
      if (!isRunning) void run();
      try {
        return await answer;
      } finally {
        state.statements -= 1;
        state.sinceMs = clock.monotonicMs();
        state.isDoubted = false;
        if (state.statements === 0) waiting.delete(watched);
      }
    },
  };
}

/** Asks on a connection of its own, for which it gives the database a second. */
export async function lookAt(connection: pg.ClientConfig, clock: Clock): Promise<Look> {
  // Not as the role that the pool acts as: what its own sessions do, the one that logs in may see.
  const client = new pg.Client(connection);
  client.on('error', () => undefined);
  const done = new AbortController();
  const answer = ask(client).catch((error: unknown): Look => (isConnectionFailure(error) ? 'away' : 'there'));
  const late = clock.sleep(probeTimeoutMs, done.signal).then((): Look => 'away');
  const found = await Promise.race([answer, late]);
  done.abort();
  sever(client);
  return found;
}

async function ask(client: pg.Client): Promise<Look> {
  await client.connect();
  // Where the state is not shown (track_activities is off), every backend counts as one that works.
  const { rows } = await client.query<{ pid: number }>(`
    select pid from pg_stat_activity where coalesce(state, '') not like 'idle%' and datname = current_database()`);
  return { working: new Set(rows.map(row => row.pid)) };
}

/** Ends the connection without a word: nobody may be listening. pg's own pool does it this way too. */
export function sever(client: pg.ClientBase): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
