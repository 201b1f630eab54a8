import { expect, it } from 'vitest';
import { empty, get, serve, start } from '../../test/hostile/harness.ts';
import { createInstruments, exposeEgress } from './instruments.ts';

it('shows the outbound calls as they are when somebody looks', async () => {
  const instruments = createInstruments();
  const egress = start({ maxConnections: 1 });
  exposeEgress(instruments, egress.stats);
  const shown = async (name: string): Promise<number> => {
    const line = new RegExp(`^opsfleet_egress_${name} (\\d+)$`, 'm').exec(
      await instruments.registry.metrics(),
    );
    return Number(line?.[1]);
  };
  expect(await shown('open_sockets')).toBe(0);

  const [kept, crowded] = [await serve(), await serve()];
  let isStale = false;
  const stale = await serve({
    onRequest: socket => (isStale ? socket.resetAndDestroy() : socket.write(empty)),
  });
  await get(egress, kept.url);
  await get(egress, crowded.url);
  expect(await shown('open_sockets')).toBeLessThanOrEqual(2);
  expect(await shown('idle_connections')).toBe(1);
  expect(await shown('connections_opened_total')).toBe(2);
  expect(await shown('closed_for_descriptors_total')).toBe(1);
  expect(await shown('stale_retries_total')).toBe(0);
  expect(await shown('descriptors_waiting')).toBe(0);
  expect(await shown('handshakes_waiting')).toBe(0);
  expect(await shown('dns_entries')).toBe(0);

  egress.forget(kept.url);
  await get(egress, stale.url);
  isStale = true;
  await get(egress, stale.url);
  expect(await shown('stale_retries_total')).toBe(1);
  await egress.close();
  expect(await shown('open_sockets')).toBe(0);
  expect(await shown('idle_connections')).toBe(0);
});
