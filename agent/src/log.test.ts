import { expect, test } from 'vitest';
import { fakeClock } from '../test/clock.ts';
import { createLog } from './log.ts';

test('an event is one line of JSON, whatever bytes it carries', () => {
  const lines: string[] = [];
  createLog(line => lines.push(line), fakeClock()).warn('odd\u001b[2J', { from: 'a\nb' });

  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[\x20-\x7e]+\n$/);
  expect(JSON.parse(lines[0]!)).toEqual({
    time: '2026-01-15T12:00:00.000Z',
    level: 'warn',
    message: 'odd\u001b[2J',
    from: 'a\nb',
  });
});

test('what repeats is said once a minute, with the number of times it was held back', () => {
  const lines: string[] = [];
  const clock = fakeClock();
  const log = createLog(line => lines.push(line), clock);

  for (let i = 0; i < 3; i += 1) log.warnSometimes('again', { reason: 'same' });
  log.warnSometimes('something else');
  clock.advance(60_000);
  log.warnSometimes('again', { reason: 'same' });

  expect(lines.map(line => JSON.parse(line) as { message: string; heldBack?: number })).toMatchObject([
    { message: 'again' },
    { message: 'something else' },
    { message: 'again', heldBack: 2 },
  ]);
});
