import type pg from 'pg';
import type { Clock } from '../platform/clock.ts';
import { type Database, type SystemDb, sql } from '../platform/db.ts';
import type { Log } from '../platform/log.ts';
import type { Position, StoredEvent } from './event.ts';
import { endOfFeed, readFeed } from './store.ts';

export type Listener = (events: readonly StoredEvent[]) => void;

/** What this process knows of the feed: one reader for all its listeners. */
export type EventFeed = {
  /** Calls the listener with every event settled from now on, in order. Returns how to stop. */
  subscribe(listener: Listener): () => void;
  /** The last event that listeners were told of: all up to it are settled, and those after it will be told. */
  position(): Position;
  /** Tells every process, soon, that there is something to read. Call it after the commit. */
  announce(): void;
  /** Resolves once the first position is known: what is committed later will be seen. */
  start(): Promise<void>;
  stop(): Promise<void>;
};

const channel = 'opsfleet_events';
const pollIntervalMs = 1_000;
const announceIntervalMs = 250;
const batchSize = 500;
/** A line that swallows everything looks like one on which nothing happens. */
const pulseIntervalMs = 15_000;
const pulseTimeoutMs = 5_000;
const notifyStatement = sql`select pg_notify(${channel}, '')`;

/** Tells every process that there is something to read, from one that has no feed. */
export async function announceOnce(db: SystemDb): Promise<void> {
  await db.execute(notifyStatement);
}

/**
 * Reads the feed when it is announced and every second regardless, so that it also works where NOTIFY does
 * not arrive. Announcements are coalesced (four a second at most) and sent outside every transaction that
 * matters: commits that carry a NOTIFY queue behind one global lock.
 */
export function createEventFeed(options: { db: Database; clock: Clock; log: Log }): EventFeed {
  const { db, clock, log } = options;
  const listeners = new Set<Listener>();
  const ended = new AbortController();
  let wake = new AbortController();
  let announced = false;
  let position: Position = { xid: 0n, id: 0 };
  let tasks: Promise<unknown>[] = [];

  const wakeUp = (): void => {
    wake.abort();
  };

  async function read(): Promise<void> {
    while (!ended.signal.aborted) {
      wake = new AbortController();
      try {
        const events = await readFeed(db.system, position, batchSize);
        const last = events.at(-1);
        if (last !== undefined) {
          position = last.position;
          deliver(events);
          continue;
        }
      } catch (error) {
        log.warn({ err: error }, 'the event feed cannot be read; trying again');
      }
      await clock.sleep(pollIntervalMs, AbortSignal.any([wake.signal, ended.signal]));
    }
  }

  function deliver(events: readonly StoredEvent[]): void {
    for (const listener of listeners) {
      try {
        listener(events);
      } catch (error) {
        log.error({ err: error }, 'an event listener failed');
      }
    }
  }

  async function listen(): Promise<void> {
    while (!ended.signal.aborted) {
      let client: pg.Client | null = null;
      try {
        client = await db.dedicated();
        const lost = new Promise<void>(resolve => client!.once('end', () => resolve()));
        client.on('notification', wakeUp);
        await client.query(`listen ${channel}`);
        await Promise.race([lost, aborted(ended.signal), silence(client)]);
      } catch (error) {
        log.debug({ err: error }, 'no announcements for now; the feed is polled instead');
      }
      // Nobody may be there to say goodbye to.
      const closed = client?.end().catch(() => undefined);
      await Promise.race([closed, clock.sleep(pollIntervalMs)]);
      await clock.sleep(pollIntervalMs, ended.signal);
    }
  }

  /** Resolves when the connection does not answer any more. */
  async function silence(client: pg.Client): Promise<void> {
    for (let isThere = true; isThere && !ended.signal.aborted; ) {
      await clock.sleep(pulseIntervalMs, ended.signal);
      const answer = client.query('select 1').then(
        () => true,
        () => false,
      );
      isThere = await Promise.race([answer, clock.sleep(pulseTimeoutMs, ended.signal).then(() => false)]);
    }
  }

  async function notify(): Promise<void> {
    while (!ended.signal.aborted) {
      await clock.sleep(announceIntervalMs, ended.signal);
      if (!announced) continue;
      announced = false;
      await db.system.execute(notifyStatement).catch(error => {
        log.debug({ err: error }, 'announcement failed; readers poll');
      });
    }
  }

  return {
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    position: () => position,
    announce() {
      announced = true;
      wakeUp();
    },
    async start() {
      position = await endOfFeed(db.system);
      tasks = [read(), listen(), notify()];
    },
    async stop() {
      ended.abort();
      wakeUp();
      await Promise.all(tasks);
    },
  };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
