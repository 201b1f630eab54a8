import { expect, test } from 'vitest';
import { fakeClock } from '../../test/clock.ts';
import type { Address } from './exchange.ts';
import { type Finding, type Probe, watch } from './watch.ts';

const [first, second, named] = [1, 2, 3].map(port => ({ host: '127.0.0.1', port }));
const up: Finding = { status: 'ok', recognised: true };
const down: Finding = { status: 'failed', message: 'connect ECONNREFUSED', recognised: false };

/** A probe whose answers the test chooses by port, and that takes 12 ms. */
function fakeProbe(findings: Map<number, Finding>, clock = fakeClock()): Probe & { clock: typeof clock } {
  return {
    clock,
    usualPlaces: [{ path: '/nowhere/socket' }, first!, second!],
    async ask(address: Address) {
      clock.advance(12);
      return 'path' in address ? up : (findings.get(address.port) ?? down);
    },
  };
}

test('off: nothing is asked and nothing reported', async () => {
  const probe = fakeProbe(new Map([[1, up]]));
  await expect(watch('off', probe, probe.clock)()).resolves.toBeUndefined();
  expect(probe.clock.monotonicMs()).toBe(0);
});

test('auto: what is found in a usual place', async () => {
  const probe = fakeProbe(new Map([[2, up]]));
  const report = await watch('auto', probe, probe.clock)();
  expect(report).toEqual({ status: 'ok', critical: true, latency_ms: 12 });
});

test('auto: where nothing answers as it should, there is nothing to report', async () => {
  const probe = fakeProbe(new Map([[1, { ...down, message: 'did not answer as Redis does' }]]));
  await expect(watch('auto', probe, probe.clock)()).resolves.toBeUndefined();
});

test('auto: what was found once has failed when it is gone, and recovers', async () => {
  const findings = new Map([[2, up]]);
  const probe = fakeProbe(findings);
  const check = watch('auto', probe, probe.clock);
  await check();
  findings.delete(2);
  await expect(check()).resolves.toMatchObject({ status: 'failed', message: 'connect ECONNREFUSED' });
  findings.set(2, up);
  await expect(check()).resolves.toMatchObject({ status: 'ok' });
});

test('named: it has failed when it is not there', async () => {
  const probe = fakeProbe(new Map([[1, up]]));
  await expect(watch(named!, probe, probe.clock)()).resolves.toMatchObject({ status: 'failed' });
});
