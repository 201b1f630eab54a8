import pg from 'pg';
import type { Clock } from './clock.ts';
import { isConnectionFailure } from './database-failure.ts';
import type { Log } from './log.ts';

/** A pooled connection as the watch sees it. */
export type Watched = {
  /** Of its backend; null until it has told. */
  pid: number | null;
  /** How much has come from it so far: a long answer says that it lives before it is complete. */
  bytesRead(): number;
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
const probeTicks = 5;
/** A tick that took longer was our own doing. */
const longestTickMs = 2 * tickMs;

/** Statements on their way, how long we have listened in vain, and whether the database knows nothing of them. */
type Waiting = { statements: number; silentMs: number; bytesRead: number; isDoubted: boolean };

/** What the database is doing: the backends that work, that it is there (and nothing more), or nothing at all. */
export type Look = { working: ReadonlySet<number> } | 'there' | 'away';

/**
 * Tells a database that is slow from one that is gone. A line that swallows everything gives no error for many
 * minutes, and a deadline of the server cannot reach us over it. So, when a connection has been silent for half a
 * second, the database is asked on a new one what that backend is doing. Where it works, its answer will come, or
 * its statement_timeout; where it does not and the answer is not here a moment later either, or where the
 * database does not answer the question, the connection is ended, and whoever waits for it hears of it: within
 * two seconds of the statement. Slow statements are never ended by this.
 *
 * Only time in which we could have heard something counts: a process that gets no CPU hears nothing, and one that
 * ends its connections for it and begins again makes it worse for everybody on the machine.
 */
export function createWatch({ clock, log, look, onAway }: WatchOptions): Watch {
  const waiting = new Map<Watched, Waiting>();
  let isRunning = false;

  async function run(): Promise<void> {
    isRunning = true;
    let lastMs = clock.monotonicMs();
    while (waiting.size > 0) {
      await clock.sleep(tickMs);
      const nowMs = clock.monotonicMs();
      listen(Math.min(nowMs - lastMs, longestTickMs));
      lastMs = nowMs;
      const silent = [...waiting].filter(([, state]) => state.silentMs >= silentMs);
      if (silent.length > 0) judge(silent, await look());
    }
    isRunning = false;
  }

  function listen(ms: number): void {
    for (const [watched, state] of waiting) {
      const bytesRead = watched.bytesRead();
      if (bytesRead === state.bytesRead) state.silentMs += ms;
      else Object.assign(state, { bytesRead, silentMs: 0, isDoubted: false });
    }
  }

  function judge(silent: readonly (readonly [Watched, Waiting])[], found: Look): void {
    if (found === 'away') onAway();
    listen(0);
    for (const [watched, state] of silent) {
      // It has said something while we asked.
      if (waiting.get(watched) !== state || state.silentMs < silentMs) continue;
      const isWorking = found !== 'away' && (found === 'there' || found.working.has(watched.pid ?? -1));
      if (isWorking) {
        state.silentMs = 0;
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
      const bytesRead = watched.bytesRead();
      const state = waiting.get(watched) ?? { statements: 0, silentMs: 0, bytesRead, isDoubted: false };
      waiting.set(watched, state);
      state.statements += 1;
      if (!isRunning) void run();
      try {
        return await answer;
      } finally {
        state.statements -= 1;
        state.silentMs = 0;
        state.isDoubted = false;
        if (state.statements === 0) waiting.delete(watched);
      }
    },
  };
}

/** Asks on a connection of its own, for which it gives the database a second, or longer where we are held up ourselves. */
export async function lookAt(connection: pg.ClientConfig, clock: Clock): Promise<Look> {
  // Not as the role that the pool acts as: what its own sessions do, the one that logs in may see.
  const client = new pg.Client(connection);
  client.on('error', () => undefined);
  const done = new AbortController();
  const answer = ask(client).catch((error: unknown): Look => (isConnectionFailure(error) ? 'away' : 'there'));
  const found = await Promise.race([answer, isLate(clock, done.signal)]);
  done.abort();
  sever(client);
  return found;
}

async function isLate(clock: Clock, signal: AbortSignal): Promise<Look> {
  for (let ticks = 0; ticks < probeTicks; ticks += 1) await clock.sleep(tickMs, signal);
  return 'away';
}

async function ask(client: pg.Client): Promise<Look> {
  await client.connect();
  // Where the state is not shown (track_activities is off), every backend counts as one that works.
  const { rows } = await client.query<{ pid: number }>(`
    select pid from pg_stat_activity where coalesce(state, '') not like 'idle%' and datname = current_database()`);
  return { working: new Set(rows.map(row => row.pid)) };
}

/** Ends the connection without a word: nobody may be listening. pg's own pool does it this way too. */
export const sever = (client: pg.ClientBase): void => streamOf(client).destroy();

/** How many bytes have come over the connection. */
export const bytesRead = (client: pg.ClientBase): number => streamOf(client).bytesRead;

type Stream = { readonly bytesRead: number; destroy(): void };

const streamOf = (client: pg.ClientBase): Stream =>
  (client as unknown as { connection: { stream: Stream } }).connection.stream;
