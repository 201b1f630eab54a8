import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { metricRollup } from '../metrics/rollup-store.ts';
import { createInstruments } from '../platform/instruments.ts';
import { sumUp } from './rollup-upkeep.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

it('shows until when each period has been summed up', async () => {
  const instruments = createInstruments();
  const now = new Date(Date.now() + 2 * 86_400_000);
  now.setUTCHours(13, 7, 0, 0);
  await sumUp({ db: database.db, clock: createFakeClock(now), instruments }, metricRollup);
  const text = await instruments.registry.metrics();
  const shown = [
    ...text.matchAll(/^opsfleet_rolled_up_until_seconds\{kind="metrics",period="(.+)"\} (\d+)$/gm),
  ];
  const day = now.toISOString().slice(0, 10);
  expect(shown.map(([, period, seconds]) => [period, new Date(Number(seconds) * 1000)])).toEqual([
    ['5m', new Date(`${day}T13:05:00Z`)],
    ['15m', new Date(`${day}T13:00:00Z`)],
    ['1h', new Date(`${day}T13:00:00Z`)],
    ['1d', new Date(`${day}T00:00:00Z`)],
  ]);
});
