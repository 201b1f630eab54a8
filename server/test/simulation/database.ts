import type { StoredEvent } from '../../src/events/event.ts';
import type { Listener } from '../../src/events/feed.ts';
import type { WorkerId } from '../../src/ids.ts';
import { AppError } from '../../src/platform/errors.ts';
import type { PollStore } from '../../src/polling/poll-store.ts';
import type { SealedServerToken } from '../../src/secrets/secrets.ts';
import { createMemoryTables, type MemoryTables } from './memory-tables.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

/** How the database misbehaves; set by the nemesis. */
type Trouble = {
  isDown: boolean;
  /** Each statement takes so much longer. */
  slowMs: number;
  /** How many of a hundred statements are refused, or done without the asker ever hearing of it. */
  refusedPercent: number;
  lostReplyPercent: number;
};

export type SimulatedDatabase = {
  readonly tables: MemoryTables;
  readonly trouble: Trouble;
  /** What a process sees of it. Dead processes' statements that were under way may still be done. */
  storeOf(process: Process): PollStore;
  feedOf(process: Process): { subscribe(listener: Listener): () => void; announce(): void };
};

const giveUpMs = 2_000;
const feedPeriodMs = 1_000;

/** A statement that its tables refuse fails where it is awaited. */
function outcomeOf<T>(apply: () => T): { result: T } | { error: unknown } {
  try {
    return { result: apply() };
  } catch (error) {
    return { error };
  }
}

export function createDatabase(timeline: Timeline, random: Random): SimulatedDatabase {
  const tables = createMemoryTables(() => timeline.nowMs());
  const trouble: Trouble = { isDown: false, slowMs: 0, refusedPercent: 0, lostReplyPercent: 0 };
  const unavailable = (): AppError =>
    new AppError('unavailable', 'The database cannot be reached right now.');
  const percent = (share: number): boolean => random.next() * 100 < share;

  /** One statement: there, done, and back, each of which may fail. */
  function statement<T>(process: Process, apply: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (): void => process.run(() => reject(unavailable()));
      if (trouble.isDown) {
        timeline.after(random.between(1, 50), fail);
        return;
      }
      if (!process.reaches.database) {
        timeline.after(giveUpMs, fail);
        return;
      }
      timeline.after(random.between(1, 5) + trouble.slowMs, () => {
        if (trouble.isDown || percent(trouble.refusedPercent)) {
          fail();
          return;
        }
        // What was sent before the process died may arrive, or not.
        if (!process.isAlive() && random.chance(0.5)) return;
        const done = outcomeOf(apply);
        timeline.after(random.between(0, 4), () => {
          if (trouble.isDown || !process.reaches.database || percent(trouble.lostReplyPercent)) fail();
          else process.run(() => ('error' in done ? reject(done.error) : resolve(done.result)));
        });
      });
    });
  }

  return {
    tables,
    trouble,
    storeOf(process) {
      const through = <A extends unknown[], R>(call: (...args: A) => R): ((...args: A) => Promise<R>) => {
        return (...args) => statement(process, () => call(...args));
      };
      return {
        registerWorker: through(tables.registerWorker),
        unregisterWorker: through(tables.unregisterWorker),
        heartbeat: through((id: WorkerId, report) => tables.heartbeat(id, report)),
        renewLeases: through(tables.renewLeases),
        claimSlots: through(tables.claimSlots),
        claimPinnedSlot: through(() => []),
        releaseSlots: through(tables.releaseSlots),
        loadSlots: through(tables.loadSlots),
        loadServers: through(tables.loadServers),
        loadJobServers: through(() => []),
        loadTokens: through(keys =>
          keys.map(({ id }) => ({ serverId: id, version: 1 }) as unknown as SealedServerToken),
        ),
        insertHealthChecks: through(tables.insertHealthChecks),
        insertMetrics: through(tables.insertMetrics),
        writeHealth: through(tables.writeHealth),
        writeMetrics: through(tables.writeMetrics),
        askWitnesses: through(tables.askWitnesses),
        takeQuestions: through(tables.takeQuestions),
        answerQuestions: through(tables.answerQuestions),
        collectAnswers: through(tables.collectAnswers),
      };
    },
    feedOf(process) {
      let position = tables.events.length;
      const listeners = new Set<Listener>();
      const read = (): void => {
        if (!process.isAlive()) return;
        timeline.after(random.between(50, feedPeriodMs), read);
        if (trouble.isDown || !process.reaches.database) return;
        const events: readonly StoredEvent[] = tables.events.slice(position);
        position = tables.events.length;
        if (events.length > 0) process.run(() => listeners.forEach(listener => listener(events)));
      };
      read();
      return {
        subscribe(listener) {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
        announce: () => undefined,
      };
    },
  };
}
