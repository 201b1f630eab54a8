import {
  comparePositions,
  formatPosition,
  type Position,
  parsePosition,
  type StoredEvent,
} from '../events/event.ts';
import type { EventFeed } from '../events/feed.ts';
import { endOfFeed, readFeedOf, startOfFeed } from '../events/store.ts';
import type { ServerId } from '../ids.ts';
import type { Clock } from '../platform/clock.ts';
import { isPassingFailure } from '../platform/database-failure.ts';
import type { SystemDb, TenantDb } from '../platform/db.ts';
import type { RawResponse } from '../platform/http/route.ts';
import type { Log } from '../platform/log.ts';
import { watchedServers } from './store.ts';

export type StreamOptions = {
  system: SystemDb;
  db: TenantDb;
  feed: EventFeed;
  clock: Clock;
  log: Log;
  response: RawResponse;
  /** Aborts when the client is gone or the server stops. */
  signal: AbortSignal;
  lastEventId: string | null;
  watch: readonly ServerId[];
};

const tickMs = 1_000;
const pingMs = 15_000;
/** Then the client reconnects, and whether it still may read is looked at again. */
const lifetimeMs = 10 * 60_000;
const catchUpLimit = 1_000;
/** A client that does not read is cut off instead of being buffered for. */
const maxBufferedBytes = 1024 * 1024;

/**
 * Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of one organization:
 * every event with its position as id, and `tick` with the newest state of the watched servers. Resumes
 * after Last-Event-ID; where that cannot be done without a gap it says `resync`, and the client reads anew.
 */
export async function streamEvents(options: StreamOptions): Promise<void> {
  const { db, clock, response, signal } = options;
  const startedMs = clock.monotonicMs();
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
  const pending: StoredEvent[] = [];
  const unsubscribe = options.feed.subscribe(events => {
    for (const event of events) if (event.organizationId === db.organizationId) pending.push(event);
    if (pending.length > catchUpLimit) response.destroy();
  });
  const reached = options.feed.position();
  try {
    let position = await resume(options, reached);
    const seen = new Map<ServerId, string>();
    let lastWriteMs = clock.monotonicMs();
    while (!signal.aborted && clock.monotonicMs() - startedMs < lifetimeMs) {
      const lines: string[] = [];
      const isOver = pending.some(({ type }) => type === 'organization.deleted');
      for (const event of pending.splice(0)) {
        if (comparePositions(event.position, position) <= 0) continue;
        position = event.position;
        lines.push(eventLines(event));
      }
      const changed = isOver ? [] : await newlyChanged(options, seen).catch(nothingForNow);
      if (changed.length > 0) lines.push(`event: tick\ndata: {"servers":[${changed.join(',')}]}\n\n`);
      if (lines.length === 0 && clock.monotonicMs() - lastWriteMs >= pingMs) lines.push(': still here\n\n');
      if (lines.length > 0) {
        response.write(lines.join(''));
        lastWriteMs = clock.monotonicMs();
      }
      if (response.writableLength > maxBufferedBytes) {
        response.destroy();
        return;
      }
      if (isOver) return;
      await clock.sleep(tickMs, signal);
    }
  } catch (error) {
    options.log.warn({ err: error }, 'a live stream ended early');
  } finally {
    unsubscribe();
    response.end();
  }
}

/** Sends what was missed and returns where the stream goes on. What comes after `reached`, the feed will tell. */
async function resume(
  { system, db, response, lastEventId }: StreamOptions,
  reached: Position,
): Promise<Position> {
  const end = latest(await endOfFeed(system), reached);
  const begin = (event: 'hello' | 'resync'): Position => {
    response.write(`retry: 2000\nid: ${formatPosition(end)}\nevent: ${event}\ndata: {}\n\n`);
    return end;
  };
  if (lastEventId === null) return begin('hello');
  const after = parsePosition(lastEventId);
  const start = await startOfFeed(system);
  // Another process may have told the client of events that ours has not read yet, but not of any after the end.
  const isKnown =
    after !== null &&
    start !== null &&
    comparePositions(after, start) >= 0 &&
    comparePositions(after, end) <= 0;
  const missed = isKnown ? await readFeedOf(db, { after, until: reached, limit: catchUpLimit + 1 }) : null;
  if (missed === null || missed.length > catchUpLimit) return begin('resync');
  response.write(`retry: 2000\n\n${missed.map(eventLines).join('')}`);
  return missed.at(-1)?.position ?? after!;
}

const latest = (a: Position, b: Position): Position => (comparePositions(a, b) > 0 ? a : b);

function eventLines(event: StoredEvent): string {
  const { type, subject, at, data } = event;
  const id = formatPosition(event.position);
  // JSON.stringify escapes line breaks, so one data line is enough.
  return `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify({ type, subject, at, data })}\n\n`;
}

/** While the database is away the stream stays: everybody would only come back at once, to be told the same. */
function nothingForNow(error: unknown): string[] {
  if (isPassingFailure(error)) return [];
  throw error;
}

/** The watched servers whose state differs from what this client was sent last. */
async function newlyChanged({ db, watch }: StreamOptions, seen: Map<ServerId, string>): Promise<string[]> {
  if (watch.length === 0) return [];
  const changed: string[] = [];
  for (const { id, json } of await watchedServers(db, watch)) {
    if (seen.get(id) === json) continue;
    seen.set(id, json);
    changed.push(json);
  }
  return changed;
}
