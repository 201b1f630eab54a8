import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/database.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { readSettings } from '../config.ts';
import { sql } from '../platform/db.ts';
import { createInstruments } from '../platform/instruments.ts';
import { keepRollups } from './rollup-upkeep.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

it('shows until when each period has been summed up', async () => {
  const instruments = createInstruments();
  const now = new Date(Date.now() + 2 * 86_400_000);
  now.setUTCHours(13, 7, 0, 0);
  const settings = readSettings({}, 1000);
  await keepRollups({ db: database.db, clock: createFakeClock(now), instruments, settings });
  const text = await instruments.registry.metrics();
  const shown = [...text.matchAll(/^opsfleet_rolled_up_until_seconds\{kind="(.+)",period="(.+)"\} (\d+)$/gm)];
  const day = now.toISOString().slice(0, 10);
  const untils = { '5m': '13:05', '15m': '13:00', '1h': '13:00', '1d': '00:00' };
  const expected = Object.entries(untils).map(([period, time]) => [period, new Date(`${day}T${time}:00Z`)]);
  expect(shown.map(([, kind, period, seconds]) => [kind, period, new Date(Number(seconds) * 1000)])).toEqual(
    ['health', 'metrics'].flatMap(kind => expected.map(([period, until]) => [kind, period, until])),
  );
});

it('a kind that fails does not keep the next one from its turn', async () => {
  const instruments = createInstruments();
  const settings = readSettings({}, 1000);
  await database.db.system.execute(sql`delete from rollup_progress where kind = 'health'`);
  const clock = createFakeClock(new Date());
  await expect(keepRollups({ db: database.db, clock, instruments, settings })).rejects.toThrow();
  expect(await instruments.registry.metrics()).toContain('{kind="metrics",period="1d"}');
});
