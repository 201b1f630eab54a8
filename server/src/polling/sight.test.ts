import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSight, sightPolicy, siteOf } from './sight.ts';

const intervalMs = 30_000;
const policy = sightPolicy(intervalMs);

/** Rounds of a fleet whose servers are checked one after the other, evenly over the interval. */
function watch(sites: readonly string[], perSite: number) {
  const sight = createSight(policy);
  const fleet = Array.from({ length: perSite }, (_, n) =>
    sites.map(site => ({ id: `${site} ${n}`, site })),
  ).flat();
  let nowMs = 0;
  return {
    sight,
    now: () => nowMs,
    /** Checks a number of servers; `reached` says who answers. */
    check(count: number, reached: (server: { id: string; site: string }) => boolean): void {
      for (let n = 0; n < count; n += 1) {
        nowMs += intervalMs / fleet.length;
        const server = fleet[Math.round(nowMs / (intervalMs / fleet.length)) % fleet.length]!;
        const wasSeeing = sight.reachedLately(nowMs);
        sight.see({ ...server, reached: reached(server), wasSeeing, atMs: nowMs });
      }
    },
    round(reached: (server: { id: string; site: string }) => boolean): void {
      this.check(fleet.length, reached);
    },
    isBlind: () => sight.blindSinceMs(nowMs) !== null,
  };
}
const all = (): boolean => true;
const nobody = (): boolean => false;

describe('we are blind', () => {
  it.each([
    [2, 2],
    [5, 8],
    [20, 100],
  ])(
    'when nobody answers any more, in a fleet of %i sites with %i servers each, in time for any verdict',
    (count, perSite) => {
      const sites = Array.from({ length: count }, (_, n) => `site ${n}`);
      const fleet = watch(sites, perSite);
      fleet.round(all);
      expect(fleet.isBlind()).toBe(false);
      fleet.check(Math.max(3, Math.ceil((count * perSite) / 2)), nobody);
      expect(fleet.isBlind()).toBe(true);
    },
  );

  it('when a third of everybody everywhere stops answering', () => {
    const fleet = watch(['a', 'b', 'c', 'd'], 30);
    fleet.round(all);
    fleet.round(({ id }) => !id.endsWith('0') && !id.endsWith('3') && !id.endsWith('6') && !id.endsWith('9'));
    expect(fleet.isBlind()).toBe(true);
  });

  it('and see again by ourselves, once they answer', () => {
    const fleet = watch(['a', 'b', 'c'], 10);
    fleet.round(all);
    fleet.round(nobody);
    expect(fleet.isBlind()).toBe(true);
    fleet.round(all);
    expect(fleet.isBlind()).toBe(false);
  });

  it('for as long as nobody answers', () => {
    const fleet = watch(['a', 'b', 'c'], 10);
    fleet.round(all);
    for (let round = 0; round < 20; round += 1) fleet.round(nobody);
    expect(fleet.isBlind()).toBe(true);
  });
});

it('we are blind where nobody answers any more after some had failed by themselves, whoever answered before', () => {
  const half = ({ id }: { id: string }): boolean => Number(id.at(-1)) % 2 === 0;
  // Around the moment in which those are told apart.
  for (let last = 0; last < 80; last += 1) {
    const fleet = watch(['a', 'b', 'c', 'd'], 10);
    fleet.round(all);
    for (let round = 0; round < 3; round += 1) fleet.round(half);
    fleet.check(last, half);
    // Sooner than a verdict, which takes three checks of a server, 5 and 10 s apart.
    fleet.check(20, nobody);
    for (let check = 0; check < 200; check += 1) {
      fleet.check(1, nobody);
      expect(fleet.isBlind(), `${last} checks, then ${check}`).toBe(true);
    }
  }
});

it('we are blind where a few answered for a moment in between: who failed before and after has not failed by itself', () => {
  const fleet = watch(['a', 'b', 'c', 'd'], 2);
  fleet.round(all);
  for (let round = 0; round < 4; round += 1) fleet.round(nobody);
  fleet.check(2, all);
  for (let round = 0; round < 4; round += 1) {
    fleet.round(nobody);
    expect(fleet.isBlind()).toBe(true);
  }
});

describe('we are not', () => {
  it('when one site of three fails, or a few servers of each', () => {
    const fleet = watch(['a', 'b', 'c'], 10);
    fleet.round(all);
    for (let round = 0; round < 3; round += 1) {
      fleet.round(({ site }) => site !== 'b');
      expect(fleet.isBlind()).toBe(false);
      fleet.round(({ id }) => !id.endsWith('7'));
      expect(fleet.isBlind()).toBe(false);
    }
  });

  it('when two servers fail, however small the fleet: that may be a coincidence', () => {
    const fleet = watch(['a', 'b'], 1);
    fleet.round(all);
    fleet.round(nobody);
    expect(fleet.isBlind()).toBe(false);
  });

  it('when everybody is at one site: it may be the site', () => {
    const fleet = watch(['a'], 50);
    fleet.round(all);
    fleet.round(nobody);
    expect(fleet.isBlind()).toBe(false);
  });

  it('any more, when there has been nobody to ask for three intervals', () => {
    const fleet = watch(['a', 'b', 'c'], 10);
    fleet.round(all);
    fleet.round(nobody);
    expect(fleet.isBlind()).toBe(true);
    const { sight } = fleet;
    expect(sight.blindSinceMs(fleet.now() + 2 * intervalMs)).not.toBeNull();
    expect(sight.blindSinceMs(fleet.now() + 3 * intervalMs + 1)).toBeNull();
  });

  it('any more, when half of everybody has gone on answering for three intervals: the others have failed', () => {
    const fleet = watch(['a', 'b', 'c', 'd'], 10);
    const half = ({ id }: { id: string }): boolean => Number(id.at(-1)) % 2 === 0;
    fleet.round(all);
    for (let round = 0; round < 3; round += 1) fleet.round(half);
    expect(fleet.isBlind()).toBe(true);
    for (let round = 0; round < 2; round += 1) fleet.round(half);
    expect(fleet.isBlind()).toBe(false);
  });
});

it('forgets a server that is not ours any more: when it comes back, it tells of us like any other', () => {
  const fleet = watch(['a', 'b', 'c', 'd'], 10);
  const half = ({ id }: { id: string }): boolean => Number(id.at(-1)) % 2 === 0;
  fleet.round(all);
  for (let round = 0; round < 5; round += 1) fleet.round(half);
  expect(fleet.isBlind()).toBe(false);
  // Those that failed by themselves are deleted, and may have been counted when they last failed.
  for (const site of ['a', 'b', 'c', 'd'])
    for (const n of [1, 3, 5, 7, 9]) fleet.sight.forget(`${site} ${n}`);
  fleet.round(half);
  expect(fleet.isBlind()).toBe(true);
});

it('does not count a failure of a server that was deleted since', () => {
  const sight = createSight(policy);
  for (const [id, site] of [
    ['1', 'a'],
    ['2', 'b'],
  ] as const)
    sight.see({ id, site, reached: false, wasSeeing: false, atMs: 1 });
  sight.forget('1');
  sight.see({ id: '3', site: 'c', reached: false, wasSeeing: false, atMs: 2 });
  expect(sight.blindSinceMs(2)).toBeNull();
  sight.see({ id: '4', site: 'd', reached: false, wasSeeing: false, atMs: 3 });
  expect(sight.blindSinceMs(3)).toBe(3);
});

it('counts each server once, by its last check, and forgets it after an interval: any history gives the same', () => {
  const check = fc.record({
    id: fc.constantFrom('1', '2', '3', '4', '5', '6'),
    reached: fc.boolean(),
    waitMs: fc.nat(20_000),
  });
  fc.assert(
    fc.property(fc.array(check), checks => {
      const sight = createSight(policy);
      let atMs = 0;
      for (const { id, reached, waitMs } of checks) {
        atMs += waitMs;
        const wasSeeing = sight.reachedLately(atMs);
        sight.see({ id, site: `site ${Number(id) % 3}`, reached, wasSeeing, atMs });
      }
      atMs += intervalMs;
      const fresh = createSight(policy);
      for (const id of ['1', '2', '3']) {
        atMs += 1;
        const seen = { id, site: `site ${Number(id) % 3}`, reached: true, wasSeeing: true, atMs };
        sight.see(seen);
        fresh.see(seen);
      }
      expect(sight.blindSinceMs(atMs)).toBe(fresh.blindSinceMs(atMs));
    }),
  );
});

it.each([
  [{ region: 'us-east-1', hostname: '10.1.2.3' }, 'us-east-1'],
  [{ region: null, hostname: '10.1.2.3' }, '10.1'],
  [{ region: null, hostname: '[2001:db8:1:2::3]' }, '2001:db8:1'],
  [{ region: null, hostname: 'web-1.fra.example.com' }, 'fra.example.com'],
  [{ region: null, hostname: 'web' }, 'web'],
])('the site of %j is %s', (server, site) => {
  expect(siteOf(server)).toBe(site);
});
