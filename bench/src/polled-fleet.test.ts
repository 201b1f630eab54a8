import { describe, expect, it } from 'vitest';
import { sql } from '../../server/src/platform/db.ts';
import { Acknowledged, accountOf, balance, healthChanges } from './accounts.ts';
import { withDatabase } from './fleet-data.ts';
import { observe } from './observe.ts';
import { partsOf, type Scene, withPolledFleet } from './polled-fleet.ts';

/** Nothing here waits for time to pass, but a busy machine may take long to start so many processes. */
const PATIENCE_MS = 120_000;

const FLEET = { servers: 7, healthSeconds: 0.3, metricsSeconds: 0.6 };

/** Waits until the servers have answered so many health checks more. */
async function moreChecks({ simulators }: Scene, more: number): Promise<void> {
  const count = async (): Promise<number> =>
    (await Promise.all(simulators.map(simulator => simulator.answered('health'))))
      .flat()
      .reduce((a, b) => a + b);
  const before = await count();
  await expect.poll(count, { timeout: PATIENCE_MS }).toBeGreaterThan(before + more);
}

describe('partsOf', () => {
  it('leaves nobody out and gives nobody twice', () => {
    expect(partsOf(10, 3)).toEqual([
      { first: 0, size: 3 },
      { first: 3, size: 3 },
      { first: 6, size: 4 },
    ]);
    expect(partsOf(5, 1)).toEqual([{ first: 0, size: 5 }]);
  });
});

describe('balance', () => {
  it('counts what is missing here and too much there, and does not set one off against the other', () => {
    expect(balance([3, 2, 0], [1, 4, 0])).toEqual({ answered: 5, stored: 5, missing: 2, surplus: 2 });
    expect(balance([1, 1], [1])).toEqual({ answered: 2, stored: 1, missing: 1, surplus: 0 });
  });
});

describe('a polled fleet', { timeout: PATIENCE_MS }, () => {
  it('of two simulators is observed, and accounted for to the last check', async () => {
    const fleet = { ...FLEET, simulators: 2, flags: ['--tls', '--close'] };
    await withPolledFleet(fleet, async scene => {
      await moreChecks(scene, 14);
      const seen = await observe(scene, 1);
      expect(seen.checks.health).toBeGreaterThan(0);
      expect(seen.rows).toBeGreaterThan(0);
      expect(seen.handshakes.full + seen.handshakes.resumed).toBeGreaterThan(0);
      expect(seen.cadence.neverChecked).toBe(0);
      expect(seen.memory.pollers).toBe(seen.memory.pollerMax);
      expect(seen.historyBytes).toBeGreaterThanOrEqual(0);

      await scene.workers[0]!.stop();
      await withDatabase(scene.controlPlane, async db => {
        const account = await accountOf(db, scene.simulators);
        expect(account.answered).toBeGreaterThan(14);
        expect(account).toMatchObject({ stored: account.answered, missing: 0, surplus: 0 });
      });
    });
  });

  it('is polled on when workers are killed, come back as others, or are paused, and when the database is gone', async () => {
    await withPolledFleet({ ...FLEET, workers: 2 }, async scene => {
      const [worker, other] = scene.workers;
      const since = new Date();
      await moreChecks(scene, 7);
      await worker!.kill();
      await worker!.start();
      await moreChecks(scene, 7);
      await worker!.pause(0.1);
      await moreChecks(scene, 7);

      await scene.controlPlane.crash();
      await moreChecks(scene, 7);
      await scene.controlPlane.revive();
      await worker!.stop();
      await worker!.start(true);
      await moreChecks(scene, 7);
      await Promise.all([worker!.stop(), other!.stop()]);
      await withDatabase(scene.controlPlane, async db => {
        expect(await accountOf(db, scene.simulators)).toMatchObject({ surplus: 0 });
        expect(await healthChanges(db, since)).toBe(0);
        const acknowledged = await Acknowledged.create(db);
        await acknowledged.note();
        const { noted } = await acknowledged.audit();
        expect(noted).toBeGreaterThan(28);
        expect(await acknowledged.audit()).toEqual({ noted, lost: 0 });
        await db.system.execute(sql`
          delete from server_health_checks where (server_id, timestamp) in (
            select server_id, timestamp from server_health_checks limit 1)`);
        expect(await acknowledged.audit()).toEqual({ noted, lost: 1 });
      });
    });
  });
});
