import { afterEach, describe, expect, test } from 'vitest';
import type { StreamEvent } from './event-parser.ts';
import { followStream, maxSilenceMs, type Opened, type Stream, type StreamPhase } from './stream.ts';

/** One end of a stream: the server's side of it. */
function connection(): { opened: Opened; send(text: string): void; end(): void } {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
  });
  const encoder = new TextEncoder();
  return {
    opened: { kind: 'open', body },
    send: text => controller.enqueue(encoder.encode(text)),
    end: () => controller.close(),
  };
}

/** A queue that is waited on: what happened, in order. */
function queue<T>(): { put(item: T): void; next(): Promise<T> } {
  const items: T[] = [];
  const waiting: ((item: T) => void)[] = [];
  return {
    put(item) {
      const first = waiting.shift();
      if (first === undefined) items.push(item);
      else first(item);
    },
    next: () =>
      items.length > 0 ? Promise.resolve(items.shift()!) : new Promise(resolve => waiting.push(resolve)),
  };
}

let stream: Stream | undefined;
afterEach(() => stream?.close());

type Asked = { lastEventId: string | null; answer(opened: Opened): void };

function follow() {
  const asked = queue<Asked>();
  const events = queue<StreamEvent>();
  const phases = queue<StreamPhase>();
  const sleeps = queue<{ durationMs: number; wake(): void }>();
  stream = followStream({
    open: (lastEventId, signal) =>
      new Promise((answer, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
        asked.put({ lastEventId, answer });
      }),
    onEvent: events.put,
    onPhase: phases.put,
    onActivity: () => undefined,
    sleep: (durationMs, signal) =>
      new Promise(wake => {
        signal.addEventListener('abort', () => wake());
        sleeps.put({ durationMs, wake });
      }),
    random: () => 1,
  });
  /** The next pause before a reconnection; the watch over silence is another matter. */
  const nextDelay = async (): Promise<{ durationMs: number; wake(): void }> => {
    for (;;) {
      const sleep = await sleeps.next();
      if (sleep.durationMs !== maxSilenceMs) return sleep;
    }
  };
  return { stream, asked, events, phases, sleeps, nextDelay };
}

test('events arrive, and after the end of a connection the next one resumes after the last of them', async () => {
  const { asked, events, phases, nextDelay } = follow();
  const first = connection();
  const opening = await asked.next();
  expect(opening.lastEventId).toBeNull();
  opening.answer(first.opened);
  first.send('retry: 500\nid: 7-3\nevent: tick\ndata: 1\n\n');
  expect(await events.next()).toEqual({ type: 'tick', data: '1', lastEventId: '7-3' });

  first.end();
  const delay = await nextDelay();
  expect(delay.durationMs).toBe(500);
  delay.wake();
  expect((await asked.next()).lastEventId).toBe('7-3');
  expect([await phases.next(), await phases.next(), await phases.next()]).toEqual([
    'connecting',
    'live',
    'reconnecting',
  ]);
});

test('a stream that had an id before keeps it while the next connection has sent none', async () => {
  const { asked, events, nextDelay } = follow();
  for (const text of ['id: 7-3\ndata: 1\n\n', 'data: 2\n\n']) {
    const each = connection();
    (await asked.next()).answer(each.opened);
    each.send(text);
    await events.next();
    each.end();
    (await nextDelay()).wake();
  }
  expect((await asked.next()).lastEventId).toBe('7-3');
});

test('failures in a row wait twice as long each, half a minute at most', async () => {
  const { asked, nextDelay } = follow();
  const delays: number[] = [];
  for (let n = 0; n < 6; n += 1) {
    (await asked.next()).answer({ kind: 'failed' });
    const delay = await nextDelay();
    delays.push(delay.durationMs);
    delay.wake();
  }
  expect(delays).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test('a connection that falls silent is given up', async () => {
  const { asked, phases, sleeps } = follow();
  (await asked.next()).answer(connection().opened);
  const silence = await sleeps.next();
  expect(silence.durationMs).toBe(maxSilenceMs);
  silence.wake();
  expect([await phases.next(), await phases.next(), await phases.next()]).toEqual([
    'connecting',
    'live',
    'reconnecting',
  ]);
});

describe('asked to reopen', () => {
  test('it asks again at once, from its place, and does not call that a reconnection', async () => {
    const { stream, asked, events, phases } = follow();
    const first = connection();
    (await asked.next()).answer(first.opened);
    first.send('id: 8-1\ndata: 1\n\n');
    await events.next();
    stream.reopen();
    const second = await asked.next();
    expect(second.lastEventId).toBe('8-1');
    second.answer(connection().opened);
    expect([await phases.next(), await phases.next(), await phases.next()]).toEqual([
      'connecting',
      'live',
      'live',
    ]);
  });
});

test('who is signed out is not asked for again', async () => {
  const { asked, phases } = follow();
  (await asked.next()).answer({ kind: 'signed_out' });
  expect([await phases.next(), await phases.next()]).toEqual(['connecting', 'signed_out']);
});
