import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createEventParser, type StreamEvent } from './event-parser.ts';

function read(chunks: readonly string[]): { events: StreamEvent[]; retries: number[] } {
  const events: StreamEvent[] = [];
  const retries: number[] = [];
  const push = createEventParser({ onEvent: event => events.push(event), onRetry: ms => retries.push(ms) });
  for (const chunk of chunks) push(chunk);
  return { events, retries };
}

const stream =
  'retry: 2000\nid: 9-1\nevent: hello\ndata: {}\n\n: still here\n\nevent: tick\ndata: {"a":\ndata: 1}\n\nid: 9-2\ndata:x\n\n';
const events = [
  { type: 'hello', data: '{}', lastEventId: '9-1' },
  { type: 'tick', data: '{"a":\n1}', lastEventId: '9-1' },
  { type: 'message', data: 'x', lastEventId: '9-2' },
];

test('events have a type, their joined data and the newest id', () => {
  expect(read([stream])).toEqual({ events, retries: [2000] });
});

test('it does not matter where the network cuts, nor how lines end', () => {
  const lineEnd = fc.constantFrom('\n', '\r', '\r\n');
  const cuts = fc.array(fc.nat(stream.length), { maxLength: 8 });
  fc.assert(
    fc.property(lineEnd, cuts, (end, places) => {
      // A final newline of any kind settles what a last CR is.
      const text = `${stream.replaceAll('\n', end)}:\n`;
      const sorted = [0, ...places.toSorted((a, b) => a - b), text.length];
      const chunks = sorted.slice(1).map((place, n) => text.slice(sorted[n], place));
      expect(read(chunks).events).toEqual(events);
    }),
  );
});

describe('what the format tells to pass over', () => {
  test('comments, unknown fields and events without data', () => {
    expect(read([': ping\n\nevent: empty\n\nwhatever: 1\nalone\n\n']).events).toEqual([]);
  });

  test('an id with a null character, a retry that is no number', () => {
    expect(read(['id: a\0b\nretry: soon\ndata: x\n\n'])).toEqual({
      events: [{ type: 'message', data: 'x', lastEventId: null }],
      retries: [],
    });
  });

  test('an event that the end of the stream cuts off', () => {
    expect(read(['data: half\n']).events).toEqual([]);
  });
});

test('a line that never ends is refused instead of filling the memory', () => {
  expect(() => read(['x'.repeat(2_000_001)])).toThrow(RangeError);
});
